//! Columns of text for the terminal, aligned by the width that the letters have on the screen.

use unicode_width::UnicodeWidthStr;

/// On which side the cells of a column are aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// At the left.
    Left,
    /// At the right.
    Right,
}

/// Rows of cells under optional headings.
#[derive(Clone, Debug)]
pub struct Table {
    align: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns.
    pub fn new(align: Vec<Align>) -> Self {
        Self {
            align,
            rows: Vec::new(),
        }
    }

    /// Adds a row. What could steer the terminal is made visible instead.
    pub fn row<S: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let cells = cells.into_iter().map(|cell| harmless(cell.as_ref()));
        self.rows.push(cells.collect());
    }

    /// The table with `indent` spaces before each line and two between columns, without spaces at the ends of lines.
    pub fn render(&self, indent: usize) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.width()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.align.len()).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = " ".repeat(indent);
            for ((cell, align), width) in row.iter().zip(&self.align).zip(&widths) {
                let space = " ".repeat(width - cell.width());
                match align {
                    Align::Left => line.extend([cell, space.as_str(), "  "]),
                    Align::Right => line.extend([space.as_str(), cell, "  "]),
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// `text` without characters that move the cursor, change colours or reverse the reading direction: names of files
/// come from anywhere.
pub fn harmless(text: &str) -> String {
    let unsafe_in_terminals = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match unsafe_in_terminals(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_by_display_width() {
        let mut table = Table::new(vec![Align::Left, Align::Right]);
        table.row(["IgG-κ", "7"]);
        table.row(["凝胶.png", "12"]);
        table.row(["e\u{301}", "3"]);
        assert_eq!(
            table.render(1),
            " IgG-κ      7\n 凝胶.png  12\n e\u{301}          3\n"
        );
    }

    #[test]
    fn names_cannot_steer_the_terminal() {
        assert_eq!(harmless("a\u{1b}[31m\n.png"), "a\\u{1b}[31m\\n.png");
        assert_eq!(harmless("gnp\u{202e}.exe"), "gnp\\u{202e}.exe");
        assert_eq!(harmless("λ 凝胶.png"), "λ 凝胶.png");
    }
}
