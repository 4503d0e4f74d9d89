//! How time and memory of a training step grow with the batch and with the area of the images: a drawing,
//! `benches/growth.svg`, each curve beside the line of least squares through it, and the same as a table.
//!
//! Time is that of the processor, of all threads together as Linux counts it, so that other programs disturb it little.

mod common;

use common::{Bench, Pass};
use std::fmt::Write as _;
use std::path::Path;

const NAME: &str = "resnet18";
const BATCHES: [usize; 7] = [1, 2, 4, 6, 8, 12, 16];
/// Of the images when the batch grows.
const SIZE: usize = 160;
const SIZES: [usize; 7] = [64, 96, 128, 160, 192, 224, 256];
/// When the images grow.
const BATCH: usize = 4;
/// Steps of which the fastest counts, after one to warm up.
const STEPS: usize = 3;
/// Width and height of a panel, and the margin around its plot.
const PANEL: [f64; 2] = [360.0, 240.0];
const MARGIN: f64 = 56.0;

/// A panel: what its axes show, and the points.
struct Series {
    title: String,
    x: &'static str,
    y: &'static str,
    points: Vec<[f64; 2]>,
}

/// The processor's seconds and planned peak bytes of a training step.
fn measure(batch: usize, size: usize) -> [f64; 2] {
    let mut network = Bench::new(NAME, Pass::TrainingStep, batch, size);
    network.step();
    let seconds = (0..STEPS).map(|_| {
        let begin = processor_seconds();
        network.step();
        processor_seconds() - begin
    });
    [
        seconds.fold(f64::INFINITY, f64::min),
        network.peak_bytes() as f64,
    ]
}

/// The processor's time that the threads of this program have had.
fn processor_seconds() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux counts the time of threads");
    let nanoseconds = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    1e-9 * nanoseconds.sum::<f64>()
}

/// Two panels, time and memory, over one sweep.
fn sweep(
    about: &str,
    x: &'static str,
    steps: impl Iterator<Item = (f64, [usize; 2])>,
) -> [Series; 2] {
    let measured: Vec<(f64, [f64; 2])> = steps
        .map(|(at, [batch, size])| (at, measure(batch, size)))
        .collect();
    let series = |title: &str, y, which: usize, scale: f64| Series {
        title: format!("{title}, {about}"),
        x,
        y,
        points: measured
            .iter()
            .map(|(at, of)| [*at, of[which] / scale])
            .collect(),
    };
    [
        series("time", "processor ms a step", 0, 1e-3),
        series("memory", "planned peak, MiB", 1, 1_048_576.0),
    ]
}

/// The line of least squares, y = a + b x, and the share of the variance that it explains.
fn fit(points: &[[f64; 2]]) -> [f64; 3] {
    let n = points.len() as f64;
    let mean = [0, 1].map(|axis| points.iter().map(|p| p[axis]).sum::<f64>() / n);
    let moment = |i: usize, j: usize| -> f64 {
        let terms = points.iter().map(|p| (p[i] - mean[i]) * (p[j] - mean[j]));
        terms.sum()
    };
    let slope = moment(0, 1) / moment(0, 0);
    let explained = moment(0, 1).powi(2) / (moment(0, 0) * moment(1, 1));
    [mean[1] - slope * mean[0], slope, explained]
}

/// Draws a panel with its upper left corner at `corner`.
fn draw(svg: &mut String, series: &Series, [left, top]: [f64; 2]) -> std::fmt::Result {
    let most = [0, 1].map(|axis| series.points.iter().map(|p| p[axis]).fold(0.0, f64::max));
    let [width, height] = PANEL.map(|length| length - 2.0 * MARGIN);
    let place = |[x, y]: [f64; 2]| {
        let right = left + MARGIN + width * x / most[0];
        (right, top + MARGIN + height * (1.0 - y / most[1]))
    };
    let [a, b, explained] = fit(&series.points);
    let ((x0, y0), (x1, y1)) = (place([0.0, 0.0]), place(most));
    writeln!(
        svg,
        r##"<path d="M{x0:.1} {y1:.1}V{y0:.1}H{x1:.1}" fill="none" stroke="#888"/>"##
    )?;
    let ((fx, fy), (tx, ty)) = (place([0.0, a]), place([most[0], a + b * most[0]]));
    writeln!(
        svg,
        r##"<path d="M{fx:.1} {fy:.1}L{tx:.1} {ty:.1}" stroke="#c60" stroke-dasharray="4 3"/>"##
    )?;
    for &point in &series.points {
        let (x, y) = place(point);
        writeln!(
            svg,
            r##"<circle cx="{x:.1}" cy="{y:.1}" r="3.5" fill="#069"/>"##
        )?;
    }
    let mut text = |x: f64, y: f64, anchor: &str, words: &str| {
        writeln!(
            svg,
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{words}</text>"#
        )
    };
    text(x0, top + 18.0, "start", &series.title)?;
    text(
        x0,
        top + 34.0,
        "start",
        &format!("R² {explained:.4} of a line; vertical: {}", series.y),
    )?;
    text(x1, y0 + 32.0, "end", series.x)?;
    text(x1, y0 + 16.0, "end", &format!("{:.0}", most[0]))?;
    text(x0 - 6.0, y1 + 4.0, "end", &format!("{:.0}", most[1]))?;
    text(x0 - 6.0, y0 + 4.0, "end", "0")
}

fn picture(panels: &[Series]) -> Result<String, std::fmt::Error> {
    let [width, height] = PANEL.map(|length| 2.0 * length);
    let mut svg = String::new();
    writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">"#
    )?;
    writeln!(
        svg,
        r##"<rect width="{width}" height="{height}" fill="#fff"/>"##
    )?;
    for (i, series) in panels.iter().enumerate() {
        let corner = [PANEL[0] * (i % 2) as f64, PANEL[1] * (i / 2) as f64];
        draw(&mut svg, series, corner)?;
    }
    writeln!(svg, "</svg>")?;
    Ok(svg)
}

#[expect(
    clippy::print_stdout,
    reason = "the table is for whoever runs the benchmark"
)]
fn main() {
    let batches = BATCHES.iter().map(|&n| (n as f64, [n, SIZE]));
    let sizes = SIZES
        .iter()
        .map(|&size| ((size * size) as f64, [BATCH, size]));
    let about = [
        format!("{NAME}, training, {SIZE} × {SIZE}"),
        format!("{NAME}, training, {BATCH} images"),
    ];
    let mut panels: Vec<Series> = sweep(&about[0], "images in a batch", batches).into();
    panels.extend(sweep(&about[1], "pixels of an image", sizes));
    for series in &panels {
        let [a, b, explained] = fit(&series.points);
        println!(
            "{}: {} = {a:.4} + {b:.6} x, R² {explained:.4}",
            series.title, series.y
        );
        for [x, y] in &series.points {
            println!("  {x:8.0} {y:10.2}");
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/growth.svg");
    let svg = picture(&panels).expect("a string takes all");
    axenic::train::Files::default()
        .write(&path, svg.as_bytes())
        .expect("the drawing can be written");
}
