//! Reads the label tables and collects everything that is wrong with them.

use super::{CLASSES, GelTable, GivenSplit, Problem, Record};
use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

const COLUMNS: [&str; 4] = ["id", "label", "label1", "label2"];

/// The tables of a data folder, or all problems.
pub(super) fn read(folder: &Path) -> Result<GelTable, Vec<Problem>> {
    let problem = |what: String| {
        vec![Problem {
            file: folder.to_path_buf(),
            line: None,
            what,
        }]
    };
    let canonical = folder
        .canonicalize()
        .map_err(|e| problem(format!("the data folder cannot be opened: {e}")))?;
    if !canonical.is_dir() {
        let what = "this is a file; give the folder that holds `label`";
        return Err(problem(what.to_string()));
    }
    let mut reader = Reader {
        folder,
        canonical,
        problems: Vec::new(),
        seen: HashMap::new(),
    };
    let table = |name| folder.join("label").join(name);
    let [train, test, all] = ["train.csv", "test.csv", "all.csv"].map(table);
    let found = if train.exists() || test.exists() {
        let mut records = reader.table(&train);
        let trained = records.len();
        records.extend(reader.table(&test));
        let split = Some(GivenSplit {
            train: 0..trained,
            test: trained..records.len(),
        });
        GelTable { records, split }
    } else if all.exists() {
        let (records, split) = (reader.table(&all), None);
        GelTable { records, split }
    } else {
        let what = "there is neither `label/train.csv` with `label/test.csv` nor `label/all.csv`";
        return Err(problem(what.to_string()));
    };
    if reader.problems.is_empty() {
        Ok(found)
    } else {
        Err(reader.problems)
    }
}

struct Reader<'a> {
    /// The data folder as the user named it.
    folder: &'a Path,
    /// The same without symbolic links.
    canonical: PathBuf,
    problems: Vec<Problem>,
    /// Where each image, by its canonical path, was listed first.
    seen: HashMap<PathBuf, String>,
}

/// A line of a table; the whole table without a line.
#[derive(Clone, Copy)]
struct Place<'a> {
    table: &'a Path,
    line: Option<u64>,
}

impl Reader<'_> {
    fn report(&mut self, place: Place, what: impl Into<String>) {
        self.problems.push(Problem {
            file: place.table.to_path_buf(),
            line: place.line,
            what: what.into(),
        });
    }

    fn table(&mut self, table: &Path) -> Vec<Record> {
        let mut place = Place { table, line: None };
        let bytes = match fs::read(table) {
            Ok(bytes) => bytes,
            Err(e) => {
                self.report(place, format!("the table cannot be opened: {e}"));
                return Vec::new();
            }
        };
        let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes); // byte-order mark
        let mut lines = csv::ReaderBuilder::new()
            .flexible(true)
            .trim(csv::Trim::All)
            .from_reader(text);
        let header = lines.headers().cloned();
        place.line = Some(1);
        let columns = match header {
            Ok(header) => self.columns(place, &header),
            Err(e) => {
                self.report(place, unreadable(&e));
                None
            }
        };
        let Some(columns) = columns else {
            return Vec::new();
        };
        let mut records = Vec::new();
        let mut rows = 0;
        for row in lines.into_records() {
            let position = match &row {
                Ok(row) => row.position(),
                Err(e) => e.position(),
            };
            place.line = position.map(|position| line_of(position, text));
            match row {
                Ok(row) if row.iter().all(str::is_empty) && row.len() == 1 => continue, // blanks
                Ok(row) => {
                    records.extend(self.record(place, columns.map(|i| row.get(i).map_or("", bare))))
                }
                Err(e) => {
                    self.report(place, unreadable(&e));
                }
            }
            rows += 1;
        }
        if rows == 0 {
            place.line = None;
            self.report(place, "the table lists no images");
        }
        records
    }

    /// Where the four columns are.
    fn columns(&mut self, place: Place, header: &csv::StringRecord) -> Option<[usize; 4]> {
        let before = self.problems.len();
        let places = COLUMNS.map(|name| {
            let mut found = header
                .iter()
                .enumerate()
                .filter(|(_, column)| bare(column) == name);
            let first = found.next();
            if first.is_none() {
                let needed = COLUMNS.join(", ");
                self.report(
                    place,
                    format!("column `{name}` is missing; the table needs {needed}"),
                );
            } else if found.next().is_some() {
                self.report(place, format!("column `{name}` is there more than once"));
            }
            first.map_or(0, |(i, _)| i)
        });
        (self.problems.len() == before).then_some(places)
    }

    /// One row; everything that is wrong with it is reported.
    fn record(&mut self, place: Place, [id, class, heavy, light]: [&str; 4]) -> Option<Record> {
        let class = self.label(place, "label", class, 8);
        let heavy = self.label(place, "label1", heavy, 3);
        let light = self.label(place, "label2", light, 2);
        let path = self.image(place, id);
        let (class, heavy, light) = (class?, heavy?, light?);
        let (name, class_heavy, class_light) = CLASSES[class];
        if (heavy, light) != (class_heavy, class_light) {
            let what = format!(
                "label {class} ({name}) means label1 {class_heavy} and label2 {class_light}, but they are {heavy} and {light}"
            );
            self.report(place, what);
            return None;
        }
        Some(Record {
            id: id.to_string(),
            path: path?,
            class,
            heavy,
            light,
            line: place.line?,
        })
    }

    fn label(&mut self, place: Place, column: &str, field: &str, largest: usize) -> Option<usize> {
        let what = match field.parse::<i64>().map(usize::try_from) {
            Ok(Ok(value)) if value <= largest => return Some(value),
            Ok(_) => format!("{column} {field} is unknown; it goes from 0 to {largest}"),
            Err(_) if field.is_empty() => format!("{column} is missing"),
            Err(_) => format!("{column} `{field}` is not a whole number"),
        };
        self.report(place, what);
        None
    }

    /// The file that an id names; it must not be listed before.
    fn image(&mut self, place: Place, id: &str) -> Option<PathBuf> {
        let what = match self.locate(id) {
            Ok((path, canonical)) => match self.seen.get(&canonical) {
                Some(first) => format!("image `{id}` is already listed in {first}"),
                None => {
                    let line = place.line.unwrap_or_default();
                    let here = format!("{}:{line}", place.table.display());
                    self.seen.insert(canonical, here);
                    return Some(path);
                }
            },
            Err(what) => what,
        };
        self.report(place, what);
        None
    }

    /// The path of an image and its canonical form, both inside the data folder; or what is wrong.
    fn locate(&self, id: &str) -> Result<(PathBuf, PathBuf), String> {
        if id.is_empty() {
            return Err("id is missing".to_string());
        }
        let leaves = || format!("image `{id}` lies outside the data folder");
        let mut below = vec![Component::Normal("label".as_ref())]; // ids are relative to the table's folder
        for component in Path::new(id).components() {
            match component {
                Component::Normal(_) => below.push(component),
                Component::CurDir => {}
                Component::ParentDir => drop(below.pop().ok_or_else(leaves)?),
                Component::RootDir | Component::Prefix(_) => return Err(leaves()),
            }
        }
        let path = self.folder.join(below.iter().collect::<PathBuf>());
        let canonical = path.canonicalize().map_err(|e| match e.kind() {
            ErrorKind::NotFound => format!("image `{id}` does not exist"),
            _ => format!("image `{id}` cannot be opened: {e}"),
        })?;
        // Symbolic links may lead out although the text of the path does not.
        if !canonical.starts_with(&self.canonical) {
            return Err(leaves());
        }
        if !canonical.is_file() {
            return Err(format!("image `{id}` is not a file"));
        }
        Ok((path, canonical))
    }
}

/// A field without the quotes that the reader leaves when blanks stand before them.
fn bare(field: &str) -> &str {
    let inner = field.strip_prefix('"').and_then(|f| f.strip_suffix('"'));
    inner.map_or(field, str::trim)
}

/// The line of a record. Its position is the end of the record before; empty lines may follow there.
fn line_of(position: &csv::Position, text: &[u8]) -> u64 {
    let rest = text.get(position.byte() as usize..).unwrap_or_default();
    let ends = rest.iter().take_while(|b| matches!(b, b'\r' | b'\n'));
    position.line() + ends.filter(|&&b| b == b'\n').count() as u64
}

fn unreadable(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Utf8 { err, .. } => format!("field {} is not UTF-8 text", err.field() + 1),
        _ => format!("the table cannot be read: {error}"),
    }
}
