//! The account of a weight file as text.

use super::{Align, Table};
use crate::train::fit::Account;

/// Where in the file the tensors came from, in a line.
pub fn account_place(account: &Account) -> String {
    let source = &account.source;
    let network = account.network.as_deref().unwrap_or("tensors as they are");
    let entry = match source.entry.is_empty() {
        true => "the top".to_string(),
        false => format!("the entry `{}`", source.entry),
    };
    let prefix = match source.prefix.is_empty() {
        true => String::new(),
        false => format!(", names without `{}`", source.prefix),
    };
    let (format, reason) = (account.format, &source.reason);
    format!("{network}, from {format}: {entry} ({reason}){prefix}")
}

/// Where the tensors came from, how many had which fate, and a line for each.
pub fn account_text(account: &Account) -> String {
    let mut text = format!("{}\n", account_place(account));
    for conversion in &account.converted {
        text.push_str(&format!("{conversion}\n"));
    }
    let counts = account.counts();
    let counts = counts.iter().map(|(word, count)| format!("{count} {word}"));
    text.push_str(&format!("{}\n", counts.collect::<Vec<_>>().join(", ")));
    let mut table = Table::new(vec![Align::Left; 6]);
    table.row([
        "tensor",
        "type",
        "in the file",
        "in the network",
        "fate",
        "",
    ]);
    let shown =
        |shape: &Option<Vec<usize>>| shape.as_ref().map_or(String::new(), |s| format!("{s:?}"));
    for line in &account.lines {
        table.row([
            line.name.as_str(),
            line.dtype.unwrap_or_default(),
            &shown(&line.stored),
            &shown(&line.needed),
            line.fate.word(),
            line.fate.how(),
        ]);
    }
    let mut others = Table::new(vec![Align::Left; 2]);
    let rows = account.others.iter();
    rows.for_each(|(path, what)| others.row([path, what]));
    text + &table.render(2) + &others.render(2)
}
