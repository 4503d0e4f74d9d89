//! A ledger as a trace that `chrome://tracing` and Perfetto open: a flame of scopes, operations at its tip.
//!
//! The format is the Trace Event Format, complete events (`"ph": "X"`) with times in microseconds. Slices that lie within
//! others on one track are drawn below them; a scope's slice spans the neighbouring nodes that were recorded in it.

use crate::error::{Error, Result};
use crate::ledger::{Entry, Ledger};
use serde_json::{Value, json};

/// The nodes of a ledger one behind the other, each as long as its median time, under the slices of their scopes.
///
/// # Errors
/// None that a ledger can cause: JSON cannot be written.
pub fn chrome_trace(ledger: &Ledger, title: &str) -> Result<String> {
    let name = |what: &str, name: &str| json!({"ph": "M", "pid": 1, "tid": 1, "name": what, "args": {"name": name}});
    let mut events = vec![
        name("process_name", &ledger.device),
        name("thread_name", title),
    ];
    let mut open: Vec<Scope> = Vec::new();
    let mut now = 0;
    for entry in &ledger.entries {
        let path: Vec<&str> = entry.path.split('.').filter(|s| !s.is_empty()).collect();
        let shared = open
            .iter()
            .zip(&path)
            .take_while(|(scope, name)| scope.name == **name)
            .count();
        close(&mut open, shared, now, &mut events);
        for name in &path[shared..] {
            open.push(Scope {
                name: (*name).to_string(),
                begin: now,
                place: events.len(),
            });
            // Filled in when its end is known: readers want a slice in front of those within it.
            events.push(Value::Null);
        }
        events.push(slice(entry, now));
        now += entry.nanoseconds;
    }
    close(&mut open, 0, now, &mut events);
    let trace = json!({"displayTimeUnit": "ns", "traceEvents": events});
    serde_json::to_string(&trace).map_err(|e| Error::input(format!("no JSON: {e}")))
}

/// A scope whose end has not been reached.
struct Scope {
    name: String,
    begin: u64,
    place: usize,
}

/// Ends the scopes that lie deeper than `depth`.
fn close(open: &mut Vec<Scope>, depth: usize, now: u64, events: &mut [Value]) {
    for scope in open.drain(depth..) {
        events[scope.place] = event(&scope.name, "scope", scope.begin, now - scope.begin);
    }
}

fn event(name: &str, category: &str, begin: u64, nanoseconds: u64) -> Value {
    let microseconds = |nanoseconds: u64| nanoseconds as f64 / 1000.0;
    json!({
        "ph": "X", "pid": 1, "tid": 1, "name": name, "cat": category,
        "ts": microseconds(begin), "dur": microseconds(nanoseconds),
    })
}

fn slice(entry: &Entry, begin: u64) -> Value {
    let shape = |shape: &Vec<usize>| format!("{shape:?}");
    let mut event = event(entry.operation, "operation", begin, entry.nanoseconds);
    event["args"] = json!({
        "node": entry.node,
        "scope": entry.path,
        "recorded at": format!("{}:{}", entry.file, entry.line),
        "attributes": entry.attributes,
        "inputs": entry.inputs.iter().map(|input| shape(&input.shape)).collect::<Vec<_>>(),
        "outputs": entry.outputs.iter().map(|output| shape(&output.shape)).collect::<Vec<_>>(),
        "FLOP": entry.flops,
        "bytes read": entry.bytes_read,
        "bytes written": entry.bytes_written,
        "share of the roofline": entry.roofline_share,
    });
    event
}
