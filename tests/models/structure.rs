//! What can be seen of the networks before a number flows: names, sizes, parts.

use crate::{find, record};
use axenic::array::Spec;
use axenic::graph::Graph;
use axenic::models;
use axenic::nn::Mode;
use axenic::rng::stream_key;
use axenic::shape::Shape;
use axenic::train::Groups;
use axenic::train::bare::{self, ForwardRequest};
use std::collections::BTreeMap;

/// As torchvision and timm count them, without DINOv2's `mask_token`.
const COUNTS: &[(&str, usize)] = &[
    ("convnext_tiny", 28_589_128),
    ("deit_base_patch16_224", 86_567_656),
    ("deit_small_patch16_224", 22_050_664),
    ("deit_tiny_patch16_224", 5_717_416),
    ("densenet121", 7_978_856),
    ("dinov2_vitb14", 86_579_712),
    ("dinov2_vitg14", 1_136_479_232),
    ("dinov2_vitl14", 304_367_616),
    ("dinov2_vits14", 22_056_192),
    ("inception_resnet_v2", 55_843_464),
    ("resnet18", 11_689_512),
    ("resnet34", 21_797_672),
    ("resnet50", 25_557_032),
    ("vit_b_16", 86_567_656),
    ("vit_b_32", 88_224_232),
    ("vit_base_patch16_224", 86_567_656),
    ("vit_l_16", 304_326_632),
    ("vit_small_patch16_224", 22_050_664),
    ("resnet50_fpn", 26_852_416),
];

/// Counted in the record, so that no value has to be kept.
#[test]
fn networks_have_as_many_parameters_as_published() {
    let counted: Vec<&str> = COUNTS.iter().map(|(name, _)| *name).collect();
    for name in models::names().filter(|name| !name.ends_with("_fpn")) {
        assert!(counted.contains(&name), "{name} has no count");
    }
    for (name, count) in COUNTS {
        let model = find(name);
        let size = model.profile().preprocessing.size;
        let graph = record(model.as_ref(), [1, 3, size, size]).expect("it records");
        let sizes = graph.parameters().map(|(_, spec)| spec.shape.elements());
        assert_eq!(sizes.sum::<usize>(), *count, "{name}");
        let travelling = graph.travelling();
        let travelling: Vec<&str> = travelling.iter().map(|(name, _)| name.as_str()).collect();
        let is_dinov2 = name.starts_with("dinov2");
        assert_eq!(
            travelling,
            ["mask_token"][..usize::from(is_dinov2)],
            "{name}"
        );
        if let Some(positions) = model.profile().position_embedding {
            let rows = (size / positions.patch_size).pow(2) + positions.prefix_tokens;
            let mut parameters = graph.parameters();
            let table = parameters.find(|(own, _)| *own == positions.name);
            let (_, table) = table.expect("a table of positions");
            assert_eq!(table.shape[..2], [1, rows], "{name}");
        }
    }
}

/// Every model can be found by its name, says that name, and takes the number of classes from its weights.
#[test]
fn every_model_is_found_and_fitted() {
    for name in models::names() {
        let mut model = find(name);
        assert_eq!(model.name(), name);
        let profile = model.profile();
        let (classifier, size) = (profile.classifier, profile.preprocessing.size);
        if model.num_classes().is_none() {
            continue;
        }
        model.set_num_classes(Some(7));
        let graph = record(model.as_ref(), [1, 3, size, size]).expect("records");
        let tensors: BTreeMap<String, Shape> = graph
            .parameters()
            .map(|(name, spec)| (name.to_string(), spec.shape))
            .collect();
        let of_classifier = |own: &String| own.starts_with(&format!("{classifier}."));
        assert!(tensors.keys().any(of_classifier), "{name}");
        let mut fitted = find(name);
        fitted.fit_to(&|own| tensors.get(own).copied());
        assert_eq!(fitted.num_classes(), Some(7), "{name}");
    }
}

#[test]
fn unknown_names_and_images_too_small_are_refused() {
    for unknown in ["resnet19", "resnet19_fpn"] {
        let error = models::find(unknown).expect_err("no such model");
        let error = error.to_string();
        assert!(
            error.contains("resnet18") && error.contains("densenet121_fpn"),
            "{error}"
        );
    }
    let model = find("inception_resnet_v2");
    assert!(record(model.as_ref(), [1, 3, 75, 75]).is_ok());
    record(model.as_ref(), [1, 3, 74, 75]).expect_err("too small");
}

/// The rows of the table in front of every file.
#[test]
fn maps_have_the_sizes_of_the_tables() {
    let maps = |name: &str, size: usize| -> Vec<(usize, usize)> {
        let mut sizes = Vec::new();
        Graph::record(|r| {
            let x = r.input("x", Spec::real([1, 3, size, size]))?;
            let features = find(name).features(&r.scope(), x, &Mode::inference())?;
            let shapes = features.stages.iter().map(|map| map.shape());
            sizes.extend(shapes.map(|shape| (shape[1], shape[2])));
            Ok(())
        })
        .expect("it records");
        sizes
    };
    let at = |channels: [usize; 4], sizes: [usize; 4]| -> Vec<_> {
        channels.into_iter().zip(sizes).collect()
    };
    let halves = [56, 28, 14, 7];
    assert_eq!(maps("resnet18", 224), at([64, 128, 256, 512], halves));
    assert_eq!(maps("resnet50", 224), at([256, 512, 1024, 2048], halves));
    assert_eq!(maps("densenet121", 224), at([256, 512, 1024, 1024], halves));
    assert_eq!(maps("convnext_tiny", 224), at([96, 192, 384, 768], halves));
    assert_eq!(maps("densenet121_fpn", 224), at([256; 4], halves));
    assert_eq!(maps("vit_b_16", 224), at([768; 4], [14; 4]));
    let inception = at([192, 320, 1088, 1536], [71, 35, 17, 8]);
    assert_eq!(maps("inception_resnet_v2", 299), inception);
}

/// A pyramid stands on any network, and leaves no parameter without a gradient: recording would fail.
#[test]
fn pyramids_stand_on_every_network() {
    let results = ["y.0", "y.1", "y.2", "y.3", "y.pool"].map(String::from);
    for name in models::names().filter(|name| name.ends_with("_fpn")) {
        let request = ForwardRequest {
            cotangents: &results,
            ..ForwardRequest::INFERENCE
        };
        let graph = bare::forward(find(name).as_ref(), [1, 3, 224, 224].into(), request);
        let graph = graph.unwrap_or_else(|e| panic!("{name}: {e}"));
        for result in &results {
            let y = graph.spec(graph.output(result).expect("it is there"));
            assert_eq!(y.shape[1], 256, "{name}: {result}");
        }
    }
}

/// Every part is found by its path.
#[test]
fn taps_have_the_paths_of_the_ecosystem() {
    let expected = [
        ("convnext_tiny", "features.5.8"),
        ("densenet121", "features.denseblock3.denselayer24"),
        ("densenet121", "features.transition2"),
        ("inception_resnet_v2", "repeat_1.19.branch1"),
        ("inception_resnet_v2", "conv2d_7b"),
        ("resnet18_fpn", "fpn.layer_blocks.3"),
        ("resnet18_fpn", "body.layer4.1"),
        ("deit_tiny_patch16_224", "blocks.11.attn.weights"),
        ("dinov2_vits14", "norm.class_token"),
    ];
    for (name, path) in expected {
        let taps = [path.to_string()];
        let request = ForwardRequest {
            taps: &taps,
            ..ForwardRequest::INFERENCE
        };
        let graph = bare::forward(find(name).as_ref(), [1, 3, 224, 224].into(), request);
        let graph = graph.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(graph.output(path).is_ok(), "{name}: {path}");
    }
}

/// Branches drop for a sample as a whole, more often the deeper they lie, and only where there is a key and nothing is
/// frozen.
#[test]
fn stochastic_depth_rises_evenly() {
    let dropping = |frozen: &str| {
        let groups = Groups::default().freeze(frozen);
        let graph = Graph::record(|r| {
            let x = r.input("x", Spec::real([2, 3, 32, 32]))?;
            let key = r.constant(stream_key(1, "dropout", 0));
            let mode = Mode::training(Some(key)).with_frozen(groups.parts());
            models::record(find("convnext_tiny").as_ref(), &r.scope(), x, &mode)
        });
        let mut found = Vec::new();
        for node in graph.expect("it records").nodes() {
            if let Some(op) = node.op().filter(|op| op.name() == "dropout") {
                let attributes = op.attributes();
                let noise = attributes.choice("noise", 0, &[("", 0), ("row", 1)]);
                assert_eq!(noise.expect("a word"), 1);
                found.push(attributes.float("p", 0.0).expect("a number"));
            }
        }
        found
    };
    let expected: Vec<f64> = (1..18).map(|block| 0.1 * f64::from(block) / 17.0).collect();
    assert_eq!(dropping("nothing"), expected);
    assert_eq!(dropping("features.5").len(), 17 - 9);
}
