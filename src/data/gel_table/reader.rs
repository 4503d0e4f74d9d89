//! Reads the label tables and collects everything that is wrong with them.

use super::problem::shown;
use super::{CLASSES, GelTable, Kind, Problem, Record, Side, by_number, read_whole};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

const COLUMNS: [&str; 4] = ["id", "label", "label1", "label2"];
/// A table of so many bytes lists a million images.
const MAX_TABLE_BYTES: u64 = 64 << 20;
/// A longer line is a table whose quotation marks do not close.
const MAX_LINE_BYTES: usize = 10_000;
/// Nobody reads more; a table that is not one would fill the memory with them.
const MAX_PROBLEMS: usize = 10_000;

/// The tables of a data folder, and all problems.
pub(super) fn read(folder: &Path) -> GelTable {
    let unusable = |what: String| GelTable {
        records: Vec::new(),
        problems: vec![Problem::new(Kind::Unreadable, folder, None, what)],
    };
    let canonical = match folder.canonicalize() {
        Ok(canonical) => canonical,
        Err(e) => return unusable(format!("the data folder cannot be opened: {e}")),
    };
    if !canonical.is_dir() {
        return unusable("this is a file; give the folder that holds `label`".to_string());
    }
    let mut reader = Reader {
        folder,
        canonical,
        problems: Vec::new(),
        seen: HashMap::new(),
    };
    let table = |name| folder.join("label").join(name);
    let [train, test, all] = ["train.csv", "test.csv", "all.csv"].map(table);
    let mut records = if train.exists() || test.exists() {
        let mut records = reader.table(&train, Side::Train);
        records.extend(reader.table(&test, Side::Test));
        records
    } else if all.exists() {
        reader.table(&all, Side::Either)
    } else {
        let is_empty = folder.read_dir().is_ok_and(|mut all| all.next().is_none());
        return unusable(format!(
            "{}there is neither `label/train.csv` with `label/test.csv` nor `label/all.csv`",
            if is_empty {
                "the folder is empty: "
            } else {
                ""
            }
        ));
    };
    records.sort_by_cached_key(|record| by_number(&record.name));
    GelTable {
        records,
        problems: reader.problems,
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
    fn report(&mut self, kind: Kind, place: Place, what: impl Into<String>) {
        let problem = Problem::new(kind, place.table, place.line, what);
        self.problems.push(problem);
    }

    fn table(&mut self, table: &Path, side: Side) -> Vec<Record> {
        let mut place = Place { table, line: None };
        let bytes = match self.content(table) {
            Ok(bytes) => bytes,
            Err(what) => {
                self.report(Kind::Unreadable, place, what);
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
                self.report(Kind::Column, place, unreadable(&e));
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
            if self.problems.len() >= MAX_PROBLEMS {
                let what = "there are too many problems; the lines from here on were not looked at";
                self.report(Kind::TooMany, place, what);
                return records;
            }
            match row {
                Ok(row) if row.iter().all(str::is_empty) && row.len() == 1 => continue, // blanks
                Ok(row) => match unlike_a_line(&row) {
                    Some(what) => self.report(Kind::Line, place, what),
                    None => {
                        let fields = columns.map(|i| row.get(i).map_or("", bare));
                        records.extend(self.record(place, side, fields));
                    }
                },
                Err(e) => self.report(Kind::Line, place, unreadable(&e)),
            }
            rows += 1;
        }
        if rows == 0 {
            place.line = None;
            self.report(Kind::Unreadable, place, "the table lists no images");
        }
        records
    }

    /// A table's bytes, or why it cannot be read.
    fn content(&self, table: &Path) -> Result<Vec<u8>, String> {
        let canonical = table
            .canonicalize()
            .map_err(|e| format!("the table cannot be opened: {e}"))?;
        if !canonical.starts_with(&self.canonical) {
            return Err("the table is a link that leads out of the data folder".to_string());
        }
        let bytes = read_whole(table, MAX_TABLE_BYTES).map_err(|e| e.to_string())?;
        if bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") {
            return Err("the table is UTF-16 text; save it as UTF-8".to_string());
        }
        Ok(bytes)
    }

    /// Where the four columns are.
    fn columns(&mut self, place: Place, header: &csv::StringRecord) -> Option<[usize; 4]> {
        let before = self.problems.len();
        if let Some(other) = [';', '\t']
            .into_iter()
            .find(|&c| header.len() == 1 && header[0].contains(c))
        {
            let what = format!("the columns are separated by {other:?}; they must be by commas");
            self.report(Kind::Column, place, what);
            return None;
        }
        let places = COLUMNS.map(|name| {
            let mut found = header
                .iter()
                .enumerate()
                .filter(|(_, column)| bare(column) == name);
            let first = found.next();
            if first.is_none() {
                let needed = COLUMNS.join(", ");
                let what = format!("column `{name}` is missing; the table needs {needed}");
                self.report(Kind::Column, place, what);
            } else if found.next().is_some() {
                let what = format!("column `{name}` is there more than once");
                self.report(Kind::Column, place, what);
            }
            first.map_or(0, |(i, _)| i)
        });
        (self.problems.len() == before).then_some(places)
    }

    /// One row; everything that is wrong with it is reported.
    fn record(
        &mut self,
        place: Place,
        side: Side,
        [id, class, heavy, light]: [&str; 4],
    ) -> Option<Record> {
        let class = self.label(place, "label", class, 8);
        let heavy = self.label(place, "label1", heavy, 3);
        let light = self.label(place, "label2", light, 2);
        let file = self.image(place, id);
        let (class, heavy, light) = (class?, heavy?, light?);
        let (name, class_heavy, class_light) = CLASSES[class];
        if (heavy, light) != (class_heavy, class_light) {
            let what = format!(
                "label {class} ({name}) means label1 {class_heavy} and label2 {class_light}, but they are {heavy} and {light}"
            );
            self.report(Kind::Label, place, what);
            return None;
        }
        let name = file?;
        Some(Record {
            id: id.to_string(),
            path: self.folder.join(&name),
            name,
            class,
            heavy,
            light,
            side,
            table: place.table.to_path_buf(),
            line: place.line?,
        })
    }

    fn label(&mut self, place: Place, column: &str, field: &str, largest: usize) -> Option<usize> {
        let what = match field.parse::<i64>().map(usize::try_from) {
            Ok(Ok(value)) if value <= largest => return Some(value),
            Ok(_) => format!("{column} {field} is unknown; it goes from 0 to {largest}"),
            Err(_) if field.is_empty() => format!("{column} is missing"),
            Err(_) => format!("{column} `{}` is not a whole number", shown(field)),
        };
        self.report(Kind::Label, place, what);
        None
    }

    /// The name inside the data folder of the image that an id names; it must not be listed before.
    fn image(&mut self, place: Place, id: &str) -> Option<String> {
        let (kind, what) = match self.locate(id) {
            Ok((name, canonical)) => match self.seen.get(&canonical) {
                Some(first) => (Kind::DuplicateId, format!("is already listed in {first}")),
                None => {
                    let line = place.line.unwrap_or_default();
                    let here = format!("{}:{line}", place.table.display());
                    self.seen.insert(canonical, here);
                    return Some(name);
                }
            },
            Err(found) => found,
        };
        let what = match id {
            "" => "id is missing".to_string(),
            id => format!("image `{}` {what}", shown(id)),
        };
        self.report(kind, place, what);
        None
    }

    /// The name of an image inside the data folder and its canonical path; or what is wrong with it.
    fn locate(&self, id: &str) -> Result<(String, PathBuf), (Kind, String)> {
        let missing = |what: &str| (Kind::MissingImage, what.to_string());
        let leaves = || {
            (
                Kind::OutsideFolder,
                "lies outside the data folder".to_string(),
            )
        };
        if id.is_empty() {
            return Err(missing("is missing"));
        }
        let mut below = vec!["label"]; // ids are relative to the table's folder
        for component in Path::new(id).components() {
            match component {
                // Parts of text are text.
                Component::Normal(name) => below.push(name.to_str().unwrap_or_default()),
                Component::CurDir => {}
                Component::ParentDir => drop(below.pop().ok_or_else(leaves)?),
                Component::RootDir | Component::Prefix(_) => return Err(leaves()),
            }
        }
        let name = below.join("/");
        let path = self.folder.join(&name);
        let canonical = path.canonicalize().map_err(|e| match e.kind() {
            ErrorKind::NotFound => missing("does not exist"),
            _ => missing(&format!("cannot be opened: {e}")),
        })?;
        // Symbolic links may lead out although the text of the path does not.
        if !canonical.starts_with(&self.canonical) {
            return Err(leaves());
        }
        if !canonical.is_file() {
            return Err(missing("is not a file"));
        }
        Ok((name, canonical))
    }
}

/// Why a line cannot be one of a label table.
fn unlike_a_line(row: &csv::StringRecord) -> Option<String> {
    if row.as_slice().len() > MAX_LINE_BYTES {
        return Some(format!(
            "the line has more than {MAX_LINE_BYTES} bytes: is a quotation mark left open?"
        ));
    }
    let has_nul = row.as_slice().contains('\0');
    has_nul.then(|| "the line holds NUL bytes: this is no text".to_string())
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
