//! The geometry of a line chart: the template draws it as SVG. Lengths are in the drawing's own units, which are
//! about CSS pixels on a phone.

use super::format::significant;
use serde::Serialize;

/// The drawing's width and height.
const SIZE: (f64, f64) = (460.0, 240.0);
/// The plot's left, top and bottom edges. Its right edge depends on the labels.
const PLOT: (f64, f64, f64) = (48.0, 14.0, 204.0);
/// Width of a letter of a line's label in the widest usual fonts, and the space around the label.
const LETTER: (f64, f64) = (8.4, 13.0);
/// Least distance between two labels.
const LABEL_STEP: f64 = 15.0;

/// A line: its name, and one value for each epoch. Values that are not finite leave a gap.
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) values: Vec<f64>,
}

/// What the vertical axis spans.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Span {
    /// From zero to a round number above the largest value.
    FromZero,
    /// Shares, shown in per cent from 0 to 100.
    Percent,
}

/// A chart, ready to be drawn.
#[derive(Serialize)]
pub(super) struct Chart {
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    x_ticks: Vec<Tick>,
    y_ticks: Vec<Tick>,
    lines: Vec<Drawn>,
    mark: Option<Mark>,
    title: &'static str,
    caption: &'static str,
    /// The chart in words, for those who cannot see it.
    summary: String,
}

#[derive(Serialize)]
struct Tick {
    at: String,
    label: String,
}

#[derive(Serialize)]
struct Drawn {
    name: &'static str,
    /// Points "x,y x,y …" of each stretch without gaps.
    stretches: Vec<String>,
    /// Stretches of one point, which have no line.
    dots: Vec<(String, String)>,
    /// Where the line ends, and the height of its label.
    end: (String, String),
    label_y: String,
}

#[derive(Serialize)]
struct Mark {
    at: String,
    label: String,
    /// `start` or `end`: on which side of the mark its label has room.
    anchor: &'static str,
    label_x: String,
}

/// A chart of `lines` over `epochs`, the epoch `kept` marked; `None` if there is nothing finite to draw.
pub(super) fn chart(
    title: &'static str,
    caption: &'static str,
    span: Span,
    epochs: &[usize],
    lines: Vec<Line>,
    kept: usize,
) -> Option<Chart> {
    let lines: Vec<Line> = lines
        .into_iter()
        .filter(|line| line.values.iter().any(|value| value.is_finite()))
        .collect();
    let values = lines.iter().flat_map(|line| line.values.iter().copied());
    let highest = values.filter(|v| v.is_finite()).reduce(f64::max)?;
    let (first, last) = (*epochs.iter().min()?, *epochs.iter().max()?);
    let (left, top, bottom) = PLOT;
    let longest = lines.iter().map(|line| line.name.chars().count()).max()?;
    let right = SIZE.0 - LETTER.1 - LETTER.0 * longest as f64;
    let (y_top, y_step) = match span {
        Span::Percent => (1.0, 0.25),
        Span::FromZero => nice_top(highest),
    };
    let x = |epoch: usize| match last > first {
        true => left + (right - left) * (epoch - first) as f64 / (last - first) as f64,
        false => (left + right) / 2.0,
    };
    let y = |value: f64| bottom - (bottom - top) * (value / y_top).clamp(0.0, 1.0);
    Some(Chart {
        width: SIZE.0,
        height: SIZE.1,
        left,
        right,
        top,
        bottom,
        x_ticks: epoch_ticks(first, last)
            .map(|epoch| tick(x(epoch), epoch.to_string()))
            .collect(),
        y_ticks: (0..=(y_top / y_step).round() as usize)
            .map(|step| step as f64 * y_step)
            .map(|value| tick(y(value), label(value, span)))
            .collect(),
        mark: epochs
            .contains(&kept)
            .then(|| mark(x(kept), kept, (left + right) / 2.0)),
        summary: summary(title, &lines, first, last, span),
        lines: draw(&lines, epochs, x, y),
        title,
        caption,
    })
}

fn tick(at: f64, label: String) -> Tick {
    Tick {
        at: coordinate(at),
        label,
    }
}

/// The lines as points, their labels moved apart where they would touch.
fn draw(
    lines: &[Line],
    epochs: &[usize],
    x: impl Fn(usize) -> f64,
    y: impl Fn(f64) -> f64,
) -> Vec<Drawn> {
    let mut drawn = Vec::new();
    let mut ends = Vec::new();
    for line in lines {
        let points: Vec<Option<(f64, f64)>> = epochs
            .iter()
            .zip(&line.values)
            .map(|(&epoch, &value)| value.is_finite().then(|| (x(epoch), y(value))))
            .collect();
        let runs = points.split(Option::is_none);
        let (dots, stretches): (Vec<_>, Vec<_>) = runs
            .map(|run| run.iter().flatten().copied().collect::<Vec<_>>())
            .filter(|run| !run.is_empty())
            .partition(|run| run.len() == 1);
        let end = points
            .iter()
            .rev()
            .flatten()
            .next()
            .copied()
            .unwrap_or_default();
        ends.push(end.1);
        drawn.push(Drawn {
            name: line.name,
            stretches: stretches.iter().map(|run| polyline(run)).collect(),
            dots: dots.iter().map(|run| pair(run[0])).collect(),
            end: pair(end),
            label_y: String::new(),
        });
    }
    for (line, height) in drawn.iter_mut().zip(apart(&ends)) {
        line.label_y = coordinate(height);
    }
    drawn
}

fn polyline(points: &[(f64, f64)]) -> String {
    let points: Vec<String> = points
        .iter()
        .map(|&(x, y)| format!("{x:.1},{y:.1}"))
        .collect();
    points.join(" ")
}

fn pair(point: (f64, f64)) -> (String, String) {
    (coordinate(point.0), coordinate(point.1))
}

fn coordinate(value: f64) -> String {
    format!("{value:.1}")
}

/// `heights` moved as little as needed for neighbours to be [`LABEL_STEP`] apart and all to stay in the plot.
fn apart(heights: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..heights.len()).collect();
    order.sort_by(|&a, &b| heights[a].total_cmp(&heights[b]));
    let mut moved = heights.to_vec();
    for pair in order.windows(2) {
        moved[pair[1]] = moved[pair[1]].max(moved[pair[0]] + LABEL_STEP);
    }
    // What was pushed below the plot comes back up, pushing its neighbours.
    let mut limit = PLOT.2;
    for &line in order.iter().rev() {
        moved[line] = moved[line].min(limit);
        limit = moved[line] - LABEL_STEP;
    }
    moved
}

/// A round number not below `highest`, and the step of four to five ticks up to it.
fn nice_top(highest: f64) -> (f64, f64) {
    if highest <= 0.0 {
        return (1.0, 0.25);
    }
    let rough = highest / 4.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|step| *step >= rough * (1.0 - 1e-9))
        .unwrap_or(10.0 * power);
    ((highest / step - 1e-9).ceil() * step, step)
}

/// Some five to seven epochs from the first to the last, at round distances.
fn epoch_ticks(first: usize, last: usize) -> impl Iterator<Item = usize> {
    let rough = (last - first).div_ceil(6).max(1);
    let power = 10usize.pow(rough.ilog10());
    let step = [1, 2, 5, 10]
        .map(|factor| factor * power)
        .into_iter()
        .find(|step| *step >= rough)
        .unwrap_or(rough);
    // The first epoch, then multiples of the step that are not too close to it.
    let rest = (1..=last / step).map(move |n| n * step);
    std::iter::once(first)
        .chain(rest.filter(move |&epoch| epoch >= first + step.div_ceil(2) && epoch > first))
}

fn label(value: f64, span: Span) -> String {
    match span {
        Span::Percent => format!("{:.0} %", 100.0 * value),
        Span::FromZero => significant(value),
    }
}

fn mark(at: f64, kept: usize, middle: f64) -> Mark {
    let (anchor, label_x) = match at < middle {
        true => ("start", at + 5.0),
        false => ("end", at - 5.0),
    };
    Mark {
        at: coordinate(at),
        label: format!("epoch {kept} kept"),
        anchor,
        label_x: coordinate(label_x),
    }
}

fn summary(title: &str, lines: &[Line], first: usize, last: usize, span: Span) -> String {
    let words = |value: f64| match span {
        Span::Percent => format!("{:.1} %", 100.0 * value),
        Span::FromZero => significant(value),
    };
    let mut text = format!("{title}, epochs {first} to {last}.");
    for line in lines {
        let mut finite = line
            .values
            .iter()
            .copied()
            .filter(|value| value.is_finite());
        if let Some(start) = finite.next() {
            let end = finite.next_back().unwrap_or(start);
            text += &format!(
                " {}: {} at first, {} at last.",
                line.name,
                words(start),
                words(end)
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn simple(values: Vec<f64>, kept: usize) -> Option<Chart> {
        let epochs: Vec<usize> = (1..=values.len()).collect();
        let line = Line {
            name: "loss",
            values,
        };
        chart("Loss", "", Span::FromZero, &epochs, vec![line], kept)
    }

    #[test]
    fn lines_span_the_plot() {
        let chart = simple(vec![4.0, 2.0, 0.0], 2).expect("drawn");
        let line = &chart.lines[0];
        let middle = coordinate((chart.left + chart.right) / 2.0);
        let expected = format!(
            "{:.1},{:.1} {middle},{:.1} {:.1},{:.1}",
            chart.left,
            chart.top,
            (chart.top + chart.bottom) / 2.0,
            chart.right,
            chart.bottom
        );
        assert_eq!(line.stretches, [expected]);
        assert_eq!(chart.mark.expect("epoch 2 is drawn").at, middle);
        let labels: Vec<&str> = chart
            .y_ticks
            .iter()
            .map(|tick| tick.label.as_str())
            .collect();
        assert_eq!(labels, ["0", "1", "2", "3", "4"]);
        assert_eq!(
            chart.summary,
            "Loss, epochs 1 to 3. loss: 4 at first, 0 at last."
        );
    }

    #[test]
    fn gaps_split_a_line_and_lone_points_are_dots() {
        let chart = simple(vec![1.0, f64::NAN, 1.0, 2.0, f64::INFINITY, 3.0], 9).expect("drawn");
        let line = &chart.lines[0];
        assert_eq!((line.stretches.len(), line.dots.len()), (1, 2));
        assert!(chart.mark.is_none());
    }

    #[test]
    fn nothing_finite_is_no_chart() {
        assert!(simple(vec![], 1).is_none());
        assert!(simple(vec![f64::NAN; 3], 1).is_none());
        assert!(simple(vec![0.0], 1).is_some());
    }

    #[test]
    fn axes_end_at_round_numbers() {
        let near = |(top, step): (f64, f64), wanted: (f64, f64)| {
            assert!(
                (top - wanted.0).abs() < 1e-9 * wanted.0,
                "{top} for {wanted:?}"
            );
            assert!(
                (step - wanted.1).abs() < 1e-9 * wanted.1,
                "{step} for {wanted:?}"
            );
        };
        near(nice_top(2.2), (3.0, 1.0));
        near(nice_top(0.03), (0.03, 0.01));
        near(nice_top(1.0), (1.0, 0.25));
        near(nice_top(0.0), (1.0, 0.25));
        near(nice_top(7.3e-6), (8e-6, 2e-6));
        let ticks = |first, last| epoch_ticks(first, last).collect::<Vec<_>>();
        assert_eq!(ticks(1, 1), [1]);
        assert_eq!(ticks(1, 4), [1, 2, 3, 4]);
        assert_eq!(ticks(1, 100), [1, 20, 40, 60, 80, 100]);
        assert_eq!(ticks(90, 100), [90, 92, 94, 96, 98, 100]);
    }

    #[test]
    fn labels_never_touch() {
        let moved = apart(&[100.0, 101.0, 200.0, 204.0, 203.0]);
        let mut sorted = moved.clone();
        sorted.sort_by(f64::total_cmp);
        assert!(
            sorted
                .windows(2)
                .all(|pair| pair[1] - pair[0] >= LABEL_STEP - 1e-9)
        );
        assert!(sorted[4] <= PLOT.2);
        assert_eq!(moved[0], 100.0);
    }
}
