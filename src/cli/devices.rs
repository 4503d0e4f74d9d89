//! `axenic devices`: what can compute here.

use super::{Outcome, show};
use crate::error::Result;
use serde::Serialize;

/// Lists what can compute here, with the limits that matter, and what `--device auto` would choose. A GPU that offers
/// cooperative matrices (tensor cores) is opened, and has to prove that it multiplies right with them.
///
/// Example: axenic devices --json
#[derive(clap::Args)]
pub(super) struct Devices {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Row {
    device: &'static str,
    name: String,
    interface: String,
    driver: String,
    largest_binding_bytes: Option<u64>,
    largest_buffer_bytes: Option<u64>,
    workgroup_memory_bytes: Option<u32>,
    measures_time: Option<bool>,
    /// The side of the cooperative matrices that proved right when the device was opened for this.
    matrix_side: Option<u32>,
    /// How the offer of such matrices ended, in words.
    matrices: Option<String>,
    is_default: bool,
}

impl Devices {
    pub(super) fn run(self) -> Result<Outcome> {
        let rows = rows();
        if self.json {
            show::json(&rows)?;
            return Ok(Outcome::Done);
        }
        let head = [
            "device",
            "name",
            "interface",
            "driver",
            "largest binding",
            "workgroup memory",
            "cooperative matrices",
            "",
        ];
        let mut table = vec![head.map(str::to_string).to_vec()];
        let size = |bytes: Option<u64>, shift: u32, unit: &str| {
            bytes.map_or("-".to_string(), |bytes| {
                format!("{} {unit}", bytes >> shift)
            })
        };
        table.extend(rows.into_iter().map(|row| {
            vec![
                row.device.to_string(),
                row.name,
                row.interface,
                row.driver,
                size(row.largest_binding_bytes, 20, "MiB"),
                size(row.workgroup_memory_bytes.map(u64::from), 10, "KiB"),
                row.matrices.unwrap_or_else(|| "-".to_string()),
                if row.is_default {
                    "default".to_string()
                } else {
                    String::new()
                },
            ]
        }));
        show::result(&show::table(&table))?;
        Ok(Outcome::Done)
    }
}

fn rows() -> Vec<Row> {
    let mut rows = gpus();
    let has_real_gpu = rows.iter().any(|row| row.is_default);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let host = |device, what: &str, is_default| Row {
        device,
        name: format!("{threads} cores, {what}"),
        interface: "host".to_string(),
        driver: "-".to_string(),
        largest_binding_bytes: None,
        largest_buffer_bytes: None,
        workgroup_memory_bytes: None,
        measures_time: None,
        matrix_side: None,
        matrices: None,
        is_default,
    };
    rows.push(host("cpu", "f32", !has_real_gpu));
    rows.push(host("reference", "f64, by the definitions", false));
    rows
}

#[cfg(feature = "gpu")]
fn gpus() -> Vec<Row> {
    use crate::exec::gpu::{Gpu, Kind};
    let row = |(i, adapter): (usize, crate::exec::gpu::Adapter)| Row {
        device: "gpu",
        name: adapter.name,
        interface: adapter.backend,
        driver: adapter.driver,
        largest_binding_bytes: Some(adapter.limits.binding_bytes),
        largest_buffer_bytes: Some(adapter.buffer_bytes),
        workgroup_memory_bytes: Some(adapter.limits.workgroup_bytes),
        measures_time: Some(adapter.timestamps),
        matrix_side: adapter
            .limits
            .matrices
            .map(|matrices| matrices.side.length()),
        matrices: Some(adapter.matrices.to_string()),
        is_default: i == 0 && adapter.kind != Kind::Software,
    };
    Gpu::proven_adapters()
        .into_iter()
        .enumerate()
        .map(row)
        .collect()
}

#[cfg(not(feature = "gpu"))]
fn gpus() -> Vec<Row> {
    Vec::new()
}
