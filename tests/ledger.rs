//! The ledger of a computation: sums that add up, values that are right, texts that programs and browsers can read.

#![cfg(feature = "cli")]

use axenic::Array;
use axenic::array::Spec;
use axenic::exec::{Cpu, Executor, Reference, Timing};
use axenic::graph::{Graph, Init};
use axenic::ledger::{Ledger, Totals};
use axenic::ops::{self, Transpose};
use axenic::plan::Plan;
use axenic::report::{chrome_trace, ledger_html, ledger_text};
use serde_json::Value;
use std::sync::Arc;

#[cfg(feature = "gpu")]
mod common;

/// A computation with scopes, a parameter that is overwritten, an alias, two outputs of one node, and a NaN.
fn graph() -> Arc<Graph> {
    let graph = Graph::record(|r| {
        let x = r.input("x", Spec::real([2, 1, 4, 6]))?;
        let block = r.scope().name("block");
        let weight = block
            .name("conv")
            .parameter("weight", [3, 1, 3, 3], Init::Constant(0.5))?;
        let y = {
            let _inside = block.name("conv").enter();
            let conv = ops::Conv2d {
                padding: [1, 1],
                ..ops::Conv2d::default()
            };
            ops::conv2d(x, weight, conv)?
        };
        let inside = block.enter();
        let y = ops::relu(y)?;
        let (pooled, _) = ops::max_pool2d(y, ops::Pooling::sliding([2, 2], [2, 2], [0, 0]))?;
        let flat = ops::reshape(pooled, [2, 18])?;
        drop(inside);
        r.output(
            "scores",
            ops::matmul(flat, flat, Transpose::No, Transpose::Yes)?,
        )?;
        let zero = ops::sub(x, x)?;
        r.output("undefined", ops::div(zero, zero)?)?;
        r.assign("block.conv.weight", ops::add(weight, weight)?)
    });
    Arc::new(graph.expect("it can be recorded"))
}

fn weight() -> Array {
    Array::new([3, 1, 3, 3], vec![0.5f32; 27]).expect("it fits")
}

fn measure(executor: &mut dyn Executor) -> Ledger {
    let x: Vec<f32> = (0..48).map(|i| (i % 7) as f32 - 3.0).collect();
    let x = Array::new([2, 1, 4, 6], x).expect("it fits");
    let weight = weight();
    let lasting = [("block.conv.weight", &weight)];
    Ledger::measure(&graph(), executor, &lasting, &[("x", &x)], 3).expect("it runs")
}

fn json(ledger: &Ledger) -> Value {
    serde_json::to_value(ledger).expect("JSON")
}

/// Sums are exact, agree with the plan, and nothing is counted twice or left out.
fn assert_adds_up(ledger: &Ledger, plan: &Plan) {
    let cost = plan.cost();
    let totals = &ledger.totals;
    assert_eq!(totals.nodes, plan.steps().len());
    assert_eq!(totals.flops, cost.flops);
    assert_eq!(totals.bytes_read, cost.bytes_read);
    assert_eq!(totals.bytes_written, cost.bytes_written);
    let launches = plan.steps().iter().map(|step| step.launches.len());
    assert_eq!(totals.launches, launches.sum::<usize>());
    let mut sum = Totals::default();
    for entry in &ledger.entries {
        sum.nodes += 1;
        sum.flops += entry.flops;
        sum.bytes_read += entry.bytes_read;
        sum.bytes_written += entry.bytes_written;
        sum.nanoseconds += entry.nanoseconds;
        sum.launches += entry.launches.len();
    }
    assert_eq!(sum, *totals);
    let mut sum = Totals::default();
    for operation in &ledger.operations {
        let own = &operation.totals;
        sum.nodes += own.nodes;
        sum.flops += own.flops;
        sum.bytes_read += own.bytes_read;
        sum.bytes_written += own.bytes_written;
        sum.nanoseconds += own.nanoseconds;
        sum.launches += own.launches;
        assert!(!operation.summary.is_empty() && !operation.documentation.is_empty());
    }
    assert_eq!(sum, *totals);
    let shares = |shares: &mut dyn Iterator<Item = f64>| (shares.sum::<f64>() - 1.0).abs() < 1e-12;
    assert!(shares(&mut ledger.entries.iter().map(|entry| entry.share)));
    assert!(shares(&mut ledger.operations.iter().map(|sum| sum.share)));
}

#[test]
fn totals_add_up_and_every_node_says_what_it_did() {
    let mut cpu = Cpu::new(2).expect("a cpu");
    let ledger = measure(&mut cpu);
    let plan = Plan::new(graph(), cpu.target()).expect("a plan");
    assert_adds_up(&ledger, &plan);
    assert_eq!(ledger.timing, Timing::Computation);
    assert!(ledger.shaders.is_empty());
    assert!(ledger.step_nanoseconds > 0);
    let roofline = &ledger.roofline;
    assert!(roofline.flops_per_second > 1e6 && roofline.bytes_per_second > 1e6);

    let entry = |name| ledger.entries.iter().find(|entry| entry.operation == name);
    let conv = entry("conv2d").expect("a convolution");
    assert_eq!(conv.path, "block.conv");
    assert!(conv.file.ends_with("ledger.rs") && conv.line > 0);
    assert_eq!(conv.flops, 2 * (2 * 3 * 4 * 6) * 9);
    assert_eq!(conv.inputs[1].name, "block.conv.weight");
    assert_eq!(conv.outputs[0].shape, [2, 3, 4, 6]);
    let least = roofline.attainable_nanoseconds(axenic::graph::Cost {
        flops: conv.flops,
        bytes_read: conv.bytes_read,
        bytes_written: conv.bytes_written,
    });
    assert_eq!(conv.attainable_nanoseconds, least);
    assert_eq!(conv.roofline_share, Some(least / conv.nanoseconds as f64));
    let pool = entry("max_pool2d").expect("a pooling");
    assert_eq!(pool.outputs[1].element, "u32");
    assert!(pool.outputs[0].min >= 0.0 && pool.outputs[0].max >= pool.outputs[0].mean);
    // The product reads the pooling through the alias.
    let product = entry("matmul").expect("a product");
    assert_eq!(product.inputs[0].node, pool.node);
    assert_eq!(product.inputs[0].shape, [2, 18]);
}

#[test]
fn a_measurement_leaves_parameters_as_they_were_given() {
    let mut reference = Reference::new(1).expect("a reference");
    let ledger = measure(&mut reference);
    let kept = reference.read("block.conv.weight").expect("it is there");
    assert_eq!(kept.to_f64(), weight().to_f64());
    // So did all the runs before: the values are those of the given parameters.
    let sum = ledger
        .entries
        .iter()
        .rfind(|entry| entry.operation == "add");
    assert_eq!(sum.expect("a sum").outputs[0].max, 1.0);
}

#[test]
fn what_is_no_number_is_a_word_in_json() {
    let ledger = measure(&mut Cpu::new(1).expect("a cpu"));
    let json = json(&ledger);
    let entries = json["entries"].as_array().expect("a list");
    let quotient = entries.iter().find(|entry| entry["operation"] == "div");
    assert_eq!(quotient.expect("a quotient")["outputs"][0]["max"], "NaN");
    assert_eq!(json["totals"]["nodes"], entries.len());
    assert!(ledger_text(&ledger, "a test").contains("NaN"));
}

#[test]
fn the_text_names_every_operation_and_its_place() {
    let ledger = measure(&mut Cpu::new(1).expect("a cpu"));
    let text = ledger_text(&ledger, "a test");
    for entry in &ledger.entries {
        let place = format!("{}:{}", entry.file, entry.line);
        let own = text
            .lines()
            .find(|line| line.contains(&format!("%{} ", entry.node)));
        let own = own.expect("a line");
        assert!(
            own.contains(entry.operation) && own.contains(&place),
            "{own}"
        );
    }
    assert!(
        text.contains("[2, 1, 4, 6] [3, 1, 3, 3] → [2, 3, 4, 6]"),
        "{text}"
    );
    assert!(text.contains("→ u32[2, 3, 2, 3]"), "{text}");
}

#[test]
fn the_trace_is_one_track_of_nested_slices() {
    let ledger = measure(&mut Cpu::new(1).expect("a cpu"));
    let text = chrome_trace(&ledger, "a test").expect("a trace");
    let trace: Value = serde_json::from_str(&text).expect("JSON");
    let events = trace["traceEvents"].as_array().expect("a list");
    let nanoseconds =
        |event: &Value, key: &str| (1000.0 * event[key].as_f64().expect("a number")).round() as u64;
    let mut open: Vec<u64> = Vec::new();
    let mut operations = Vec::new();
    for event in events.iter().filter(|event| event["ph"] != "M") {
        assert_eq!(event["ph"], "X");
        let (begin, length) = (nanoseconds(event, "ts"), nanoseconds(event, "dur"));
        open.retain(|end| *end > begin);
        assert!(
            open.iter().all(|end| begin + length <= *end),
            "slices cross: {event}"
        );
        if event["cat"] == "scope" {
            open.push(begin + length);
        } else {
            operations.push((event["name"].clone(), begin, length));
        }
    }
    let mut now = 0;
    assert_eq!(operations.len(), ledger.entries.len());
    for (entry, (name, begin, length)) in ledger.entries.iter().zip(operations) {
        assert_eq!(
            (name, begin, length),
            (entry.operation.into(), now, entry.nanoseconds)
        );
        now += entry.nanoseconds;
    }
    assert_eq!(now, ledger.totals.nanoseconds);
    let scopes = events.iter().filter(|event| event["cat"] == "scope");
    let names: Vec<&Value> = scopes.map(|event| &event["name"]).collect();
    assert_eq!(names[..2], ["block", "conv"]);
}

/// The page needs no other file, and carries the very ledger.
fn assert_self_contained(ledger: &Ledger) {
    let page = ledger_html(ledger, "</script><b>a test").expect("a page");
    for load in [
        "http:",
        "https:",
        "src=",
        "<link",
        "@import",
        "url(",
        "fetch(",
        "import(",
        "<b>a test",
    ] {
        assert!(!page.contains(load), "the page contains {load}");
    }
    let (_, rest) = page.split_once("id=\"data\">").expect("data");
    let (data, rest) = rest.split_once("</script>").expect("an end");
    assert_eq!(
        serde_json::from_str::<Value>(data).expect("JSON"),
        json(ledger)
    );
    assert_eq!(rest.matches("</script>").count(), 1);
    for shader in &ledger.shaders {
        let text = serde_json::to_string(&shader.text)
            .expect("JSON")
            .replace('<', "\\u003c");
        assert_eq!(page.matches(&text).count(), 1, "{}", shader.name);
    }
}

#[test]
fn the_page_is_self_contained() {
    assert_self_contained(&measure(&mut Cpu::new(1).expect("a cpu")));
}

#[cfg(feature = "gpu")]
#[test]
fn shaders_are_named_by_the_digest_of_what_ran() {
    use sha2::{Digest, Sha256};
    let Some(mut gpu) = common::gpu(axenic::exec::gpu::Checks::Off) else {
        return;
    };
    let ledger = measure(&mut gpu);
    let plan = Plan::new(graph(), gpu.target()).expect("a plan");
    assert_adds_up(&ledger, &plan);
    assert_self_contained(&ledger);
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    for shader in &ledger.shaders {
        // What multiplies, if that is not lanes, stands behind the stem.
        let stem = shader.name.split(" (").next().unwrap_or_default();
        let file = root.join(format!("{stem}.wgsl"));
        let file = std::fs::read_to_string(file).expect("a shader");
        assert!(shader.text.ends_with(&file));
        let digest = Sha256::digest(shader.text.as_bytes());
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(shader.sha256, digest);
    }
    for (entry, step) in ledger.entries.iter().zip(plan.steps()) {
        let own = entry.launches.iter();
        let own: Vec<&str> = own
            .map(|launch| ledger.shaders[launch.shader].name.as_str())
            .collect();
        let planned: Vec<String> = step.launches.iter().map(|launch| launch.name()).collect();
        assert_eq!(own, planned);
    }
    if gpu.adapter().timestamps {
        assert_eq!(ledger.timing, Timing::DeviceClock);
    }
}
