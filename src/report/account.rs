//! The account of a weight file as text.

use super::{Align, Table};
use crate::train::fit::Account;

/// Where the tensors came from, how many had which fate, and a line for each.
pub fn account_text(account: &Account) -> String {
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
    let mut text = format!("{network}, from {format}: {entry} ({reason}){prefix}\n");
    for (dtype, count) in &account.converted {
        text.push_str(&format!("{count} tensors of type {dtype} became F32\n"));
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
    text + &table.render(2)
}
