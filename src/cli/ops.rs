//! `axenic ops`: the operations, with what goes in and what comes out.

use super::{Outcome, show};
use crate::array::{Element, Spec};
use crate::error::Result;
use crate::graph::{Asked, Attribute};
use crate::ops::{ROOMS, Room};
use serde::Serialize;
use serde_json::{Value, json};

/// Lists every operation: its inputs, its attributes with their defaults, its outputs, and PyTorch's equivalent.
///
/// Example: axenic ops --json
#[derive(clap::Args)]
pub(super) struct Ops {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// An operation as the list shows it.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    summary: String,
    definition: String,
    shape: String,
    gradient: String,
    numerics: String,
    inputs: Vec<Port>,
    attributes: Vec<AttributeRow>,
    outputs: Vec<Port>,
    reference: String,
    pytorch: Option<String>,
}

/// An input or output.
#[derive(Serialize)]
struct Port {
    name: String,
    #[serde(rename = "type")]
    element: &'static str,
    /// Whether any number of them may follow, from none.
    repeated: bool,
}

#[derive(Serialize)]
struct AttributeRow {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    default: Value,
    choices: Vec<String>,
    pytorch: Option<&'static str>,
}

impl Ops {
    pub(super) fn run(self) -> Result<Outcome> {
        let rows: Vec<Row> = ROOMS.iter().map(row).collect();
        if self.json {
            show::json(&rows)?;
            return Ok(Outcome::Done);
        }
        let mut table = vec![
            ["operation", "inputs", "attributes", "PyTorch"]
                .map(String::from)
                .to_vec(),
        ];
        table.extend(rows.iter().map(|row| {
            let inputs: Vec<String> = row.inputs.iter().map(Port::text).collect();
            let attribute = |a: &AttributeRow| format!("{}={}", a.name, plain(&a.default));
            let attributes: Vec<String> = row.attributes.iter().map(attribute).collect();
            vec![
                row.name.to_string(),
                inputs.join(", "),
                attributes.join(" "),
                row.pytorch.clone().unwrap_or_default(),
            ]
        }));
        show::result(&show::table(&table))?;
        Ok(Outcome::Done)
    }
}

impl Port {
    fn text(&self) -> String {
        let index = if self.element == "u32" { ": u32" } else { "" };
        format!(
            "{}{}{index}",
            self.name,
            if self.repeated { "…" } else { "" }
        )
    }
}

fn row(room: &Room) -> Row {
    let cases = room.cases();
    let (mut inputs, mut outputs): (Vec<Spec>, Vec<Spec>) = (Vec::new(), Vec::new());
    for case in &cases {
        let specs: Vec<Spec> = case.inputs.iter().map(|array| array.spec()).collect();
        let results = case.op.outputs(&specs).unwrap_or_default();
        inputs.extend(specs.iter().skip(inputs.len()));
        outputs.extend(results.iter().skip(outputs.len()));
    }
    let port = |name: &str, spec: Option<&Spec>| Port {
        name: name.trim_end_matches('…').to_string(),
        element: match spec.map(|spec| spec.element) {
            Some(Element::Index) => "u32",
            _ => "real",
        },
        repeated: name.ends_with('…'),
    };
    let output = |(i, spec)| match outputs.len() {
        1 => port("y", Some(spec)),
        _ => port(&format!("y.{i}"), Some(spec)),
    };
    let named = room.inputs.iter().enumerate();
    let reference = room.section("Reference");
    Row {
        name: room.name,
        summary: room.section(""),
        definition: room.section("Definition"),
        shape: room.section("Shape"),
        gradient: room.section("Gradient"),
        numerics: room.section("Numerics"),
        inputs: named.map(|(i, name)| port(name, inputs.get(i))).collect(),
        attributes: room
            .attributes()
            .into_iter()
            .map(|asked| attribute(room.name, asked))
            .collect(),
        outputs: outputs.iter().enumerate().map(output).collect(),
        pytorch: pytorch(&reference),
        reference,
    }
}

fn attribute(room: &str, asked: Asked) -> AttributeRow {
    AttributeRow {
        pytorch: pytorch_argument(room, &asked.name),
        name: asked.name,
        kind: asked.kind,
        default: match asked.default {
            Attribute::Int(n) => json!(n),
            Attribute::Ints(list) => json!(list),
            Attribute::Float(x) => json!(x),
            Attribute::Word(word) => json!(word),
        },
        choices: asked.choices,
    }
}

/// The first piece of code in a room's reference that speaks of PyTorch.
fn pytorch(reference: &str) -> Option<String> {
    let mut code = reference.split('`').skip(1).step_by(2);
    code.find(|code| code.contains("torch")).map(str::to_string)
}

/// Attributes that PyTorch calls by the same name, wherever they occur.
const SHARED_NAMES: &[&str] = &[
    "align_corners",
    "alpha",
    "ceil_mode",
    "count_include_pad",
    "dilation",
    "eps",
    "gamma",
    "groups",
    "kernel_size",
    "length",
    "max",
    "max_norm",
    "min",
    "mode",
    "momentum",
    "nesterov",
    "num_heads",
    "output_size",
    "p",
    "padding",
    "scale",
    "size",
    "start",
    "stride",
    "weight_decay",
];

/// What PyTorch calls an attribute of an operation, if its equivalent has such an argument.
fn pytorch_argument(room: &str, name: &str) -> Option<&'static str> {
    match (room, name) {
        ("pad", _) => None,
        ("fill", "value") => Some("fill_value"),
        ("fill" | "broadcast", "shape") => Some("size"),
        ("reshape", "shape") => Some("shape"),
        ("not_equal", "value") => Some("other"),
        ("transpose", "axes") => Some("dims"),
        ("adamw", "first_beta" | "second_beta") => Some("betas"),
        (_, "axis" | "axes") => Some("dim"),
        (_, "keep") => Some("keepdim"),
        _ => SHARED_NAMES.iter().find(|shared| **shared == name).copied(),
    }
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_string)
}
