//! Letters and digits as strokes, so that no font file is needed.
//!
//! A glyph lives in a box of height 1: x to the right from 0 to its width, y downwards from the top of the capitals
//! (0) to the base line (1).

/// A point of a glyph.
pub(super) type Point = [f32; 2];

/// A glyph: its width, and lines through points.
pub(super) struct Glyph {
    pub(super) width: f32,
    pub(super) strokes: Vec<Vec<Point>>,
}

/// Points on an ellipse from one angle to another, in degrees: 0 is right, 90 is down.
fn arc(centre: Point, radius: Point, from: f32, to: f32) -> Vec<Point> {
    const STEPS: usize = 10;
    (0..=STEPS)
        .map(|i| {
            let angle = (from + (to - from) * i as f32 / STEPS as f32).to_radians();
            [
                centre[0] + radius[0] * angle.cos(),
                centre[1] + radius[1] * angle.sin(),
            ]
        })
        .collect()
}

fn joined(parts: impl IntoIterator<Item = Vec<Point>>) -> Vec<Point> {
    parts.into_iter().flatten().collect()
}

fn glyph(width: f32, strokes: Vec<Vec<Point>>) -> Glyph {
    Glyph { width, strokes }
}

/// The glyph of a character that laboratories print on gels; a character that they do not print is blank.
pub(super) fn glyph_of(character: char) -> Glyph {
    match character {
        '0'..='9' => digit(character),
        'κ' | 'λ' | 'g' => small(character),
        _ => capital(character),
    }
}

fn capital(character: char) -> Glyph {
    match character {
        'E' => glyph(
            0.54,
            vec![
                vec![[0.54, 0.0], [0.0, 0.0], [0.0, 1.0], [0.54, 1.0]],
                vec![[0.0, 0.48], [0.48, 0.48]],
            ],
        ),
        'L' => glyph(0.5, vec![vec![[0.0, 0.0], [0.0, 1.0], [0.5, 1.0]]]),
        'P' => glyph(
            0.58,
            vec![joined([
                vec![[0.0, 1.0], [0.0, 0.0]],
                arc([0.31, 0.27], [0.27, 0.27], -90.0, 90.0),
                vec![[0.0, 0.54]],
            ])],
        ),
        'S' => glyph(
            0.58,
            vec![joined([
                arc([0.29, 0.25], [0.26, 0.25], -25.0, -245.0),
                arc([0.29, 0.74], [0.29, 0.26], -60.0, 155.0),
            ])],
        ),
        'G' => glyph(
            0.7,
            vec![joined([
                arc([0.36, 0.5], [0.36, 0.5], -38.0, -330.0),
                vec![[0.7, 0.54], [0.4, 0.54]],
            ])],
        ),
        'A' => glyph(
            0.7,
            vec![
                vec![[0.0, 1.0], [0.35, 0.0], [0.7, 1.0]],
                vec![[0.13, 0.66], [0.57, 0.66]],
            ],
        ),
        'M' => glyph(
            0.76,
            vec![vec![
                [0.0, 1.0],
                [0.0, 0.0],
                [0.38, 0.85],
                [0.76, 0.0],
                [0.76, 1.0],
            ]],
        ),
        'K' => glyph(
            0.62,
            vec![
                vec![[0.0, 0.0], [0.0, 1.0]],
                vec![[0.58, 0.0], [0.0, 0.6]],
                vec![[0.22, 0.4], [0.62, 1.0]],
            ],
        ),
        'I' => glyph(0.02, vec![vec![[0.0, 0.0], [0.0, 1.0]]]),
        _ => glyph(0.3, Vec::new()),
    }
}

fn small(character: char) -> Glyph {
    match character {
        'κ' => glyph(
            0.5,
            vec![
                vec![[0.0, 0.3], [0.0, 1.0]],
                vec![[0.46, 0.3], [0.0, 0.7]],
                vec![[0.17, 0.56], [0.5, 1.0]],
            ],
        ),
        'λ' => glyph(
            0.56,
            vec![
                vec![[0.03, 0.0], [0.15, 0.03], [0.24, 0.18], [0.56, 1.0]],
                vec![[0.32, 0.4], [0.0, 1.0]],
            ],
        ),
        _ => glyph(
            0.48,
            vec![
                arc([0.23, 0.64], [0.23, 0.32], 0.0, 360.0),
                joined([
                    vec![[0.47, 0.32]],
                    arc([0.24, 1.06], [0.23, 0.24], 0.0, 150.0),
                ]),
            ],
        ),
    }
}

fn digit(character: char) -> Glyph {
    let strokes = match character {
        '1' => vec![vec![[0.12, 0.2], [0.32, 0.0], [0.32, 1.0]]],
        '2' => vec![joined([
            arc([0.28, 0.27], [0.26, 0.27], -170.0, 35.0),
            vec![[0.0, 1.0], [0.56, 1.0]],
        ])],
        '3' => vec![joined([
            arc([0.27, 0.25], [0.24, 0.25], -160.0, 80.0),
            arc([0.27, 0.74], [0.28, 0.26], -80.0, 160.0),
        ])],
        '4' => vec![vec![[0.42, 1.0], [0.42, 0.0], [0.0, 0.68], [0.58, 0.68]]],
        '5' => vec![joined([
            vec![[0.52, 0.0], [0.1, 0.0], [0.05, 0.45]],
            arc([0.27, 0.68], [0.29, 0.32], -130.0, 155.0),
        ])],
        '6' => vec![joined([
            arc([0.36, 0.5], [0.36, 0.5], -55.0, -180.0),
            arc([0.28, 0.69], [0.28, 0.31], -180.0, 180.0),
        ])],
        '7' => vec![vec![[0.0, 0.0], [0.55, 0.0], [0.2, 1.0]]],
        '8' => vec![
            arc([0.28, 0.25], [0.23, 0.25], 0.0, 360.0),
            arc([0.28, 0.75], [0.28, 0.25], 0.0, 360.0),
        ],
        '9' => vec![joined([
            arc([0.2, 0.5], [0.36, 0.5], 125.0, 0.0),
            arc([0.28, 0.31], [0.28, 0.31], 0.0, 360.0),
        ])],
        _ => vec![arc([0.28, 0.5], [0.28, 0.5], 0.0, 360.0)],
    };
    glyph(0.56, strokes)
}
