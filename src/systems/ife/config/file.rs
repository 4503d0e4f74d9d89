//! A configuration file laid over other settings, so that whatever is wrong in it is known by its line and name.

use crate::error::{Error, Result};
use toml::{Table, Value, de::DeTable};

/// The settings of `base`, with those of a file in their place. `is_known` refuses a table with a setting that does not
/// exist or has the wrong type; it is asked after each one.
///
/// # Errors
/// The text is not TOML, or a setting is refused; one sentence with the line.
pub(super) fn overlaid(
    base: Table,
    text: &str,
    is_known: impl Fn(&Table) -> Result<()>,
) -> Result<Table> {
    let not_toml = |e: toml::de::Error| {
        let at = e.span().map_or(0, |span| span.start);
        Error::input(format!("line {}: {}", line(text, at), sentence(&e)))
    };
    let given: Table = toml::from_str(text).map_err(not_toml)?;
    let places = DeTable::parse(text).map_err(not_toml)?;
    let mut table = base;
    for (section, inner) in places.get_ref() {
        let own = section.get_ref().as_ref();
        let mut lay = |name: Option<&str>, at: usize| {
            merge(&mut table, only(&given, own, name));
            let name = name.map_or_else(|| own.to_string(), |name| format!("{own}.{name}"));
            is_known(&table).map_err(|e| e.within(format!("line {}: {name}", line(text, at))))
        };
        match inner.get_ref().as_table() {
            None => lay(None, section.span().start)?,
            Some(settings) => settings
                .iter()
                .try_for_each(|(name, _)| lay(Some(name.get_ref()), name.span().start))?,
        }
    }
    Ok(table)
}

/// The parser's message on one line.
pub(super) fn sentence(e: &toml::de::Error) -> String {
    e.message().lines().collect::<Vec<_>>().join(", ")
}

/// The line, from 1, of a place in a text.
fn line(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|&byte| byte == b'\n').count()
}

/// A table that holds one setting of another: `name` of `section`, or what stands in the section's place.
fn only(table: &Table, section: &str, name: Option<&str>) -> Table {
    let mut value = table.get(section).cloned();
    if let (Some(Value::Table(inner)), Some(name)) = (&mut value, name) {
        inner.retain(|own, _| own == name);
    }
    value
        .into_iter()
        .map(|value| (section.to_string(), value))
        .collect()
}

fn merge(base: &mut Table, given: Table) {
    for (key, value) in given {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(value)) => merge(inner, value),
            // A whole number where a real one is meant is as good.
            (Some(place @ Value::Float(_)), Value::Integer(n)) => *place = Value::Float(n as f64),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::systems::ife::config::{Config, Preset};

    #[test]
    fn what_is_wrong_with_a_file_is_one_sentence_with_its_line() {
        let base = Preset::Paper.config();
        for (text, words) in [
            (
                "[train]\nepochs = \"x\"\n",
                ["line 2: train.epochs", "string"],
            ),
            (
                "\n\n[model]\nvariant = \"b\"",
                ["line 4: model.variant", "released"],
            ),
            (
                "[train]\nbatch = 8\nepoch = 3\n",
                ["line 3: train.epoch", "epochs"],
            ),
            ("epochs = 3\n", ["line 1: epochs", "unknown"]),
            ("[train]\nepochs = \n", ["line 2", ""]),
            ("[train]\nseed = 9223372036854775808\n", ["line 2", ""]),
            ("[train]\nepochs = 0\n", ["train.epochs must be", ""]),
        ] {
            let e = Config::read(text, &base).expect_err(text).to_string();
            assert!(words.iter().all(|word| e.contains(word)), "{text:?}: {e}");
            assert_eq!(e.lines().count(), 1, "{e}");
        }
    }
}
