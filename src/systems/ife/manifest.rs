//! What a run is trained on, file by file: `data.csv` in its folder.
//!
//! Columns `part,image,class,heavy,light,sha256`, a row for each image in the order of the label tables. Order and names
//! count: they decide the split, the order of an epoch and the augmentation. So a run goes on only where the manifest is
//! the same to the last byte, and where it is not, the two tell what changed.

use super::images::Part;
use crate::data::gel_table::Record;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

const HEAD: &str = "part,image,class,heavy,light,sha256\n";

/// A manifest as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest(String);

impl Manifest {
    /// The manifest of records with the digests of their files; `parts` says which record is in which part.
    pub fn new(
        records: &[Record],
        fingerprints: &[[u8; 32]],
        parts: [(&Vec<usize>, Part); 3],
    ) -> Self {
        let mut part_of = vec![Part::All; records.len()];
        for (items, part) in parts {
            items.iter().for_each(|&item| part_of[item] = part);
        }
        let rows = records.iter().zip(fingerprints).zip(part_of);
        let row = |((record, fingerprint), part): ((&Record, &[u8; 32]), Part)| {
            let Record {
                name,
                class,
                heavy,
                light,
                ..
            } = record;
            // A name in quotes, its own quotes doubled, may hold commas.
            let image = name.replace('"', "\"\"");
            format!(
                "{},\"{image}\",{class},{heavy},{light},{}\n",
                part.name(),
                hex(fingerprint)
            )
        };
        Self(HEAD.to_string() + &rows.map(row).collect::<String>())
    }

    /// The text of `data.csv`.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// SHA-256 of the text in hexadecimal.
    pub fn digest(&self) -> String {
        digest(self.0.as_bytes())
    }

    /// For each image, in order, the part that it was in when the manifest `was` was written; empty for an image that
    /// was not there, or with other content or labels.
    pub fn parts_in<'a>(&self, was: &'a str) -> Vec<&'a str> {
        let old = rows(was);
        let part = |line| {
            let (image, (_, rest)) = row(line)?;
            old.get(image).filter(|old| old.1 == rest).map(|old| old.0)
        };
        let lines = self.0.lines().skip(1);
        lines.map(|line| part(line).unwrap_or_default()).collect()
    }

    /// What changed since the manifest `was` with this digest was written; `was` may be damaged.
    pub fn changes_since(&self, was: &[u8], was_digest: &str) -> String {
        let Some(was) = std::str::from_utf8(was)
            .ok()
            .filter(|was| digest(was.as_bytes()) == was_digest)
        else {
            return "its images, labels or their order changed".to_string();
        };
        let (old, new) = (rows(was), rows(&self.0));
        let changed = |(image, row): (&&str, &(&str, &str))| match new.get(image) {
            None => Some(format!("{image} is missing")),
            Some(now) if now.1 != row.1 => Some(format!("{image} has other content or labels")),
            Some(now) if now.0 != row.0 => Some(format!("{image} is in another part")),
            Some(_) => None,
        };
        let added = new.keys().filter(|image| !old.contains_key(*image));
        let mut changes: Vec<String> = old.iter().filter_map(changed).collect();
        changes.extend(added.map(|image| format!("{image} is new")));
        match changes.as_slice() {
            [] => "the order of its images changed".to_string(),
            [only] => only.clone(),
            [first, rest @ ..] => format!("{first}, and {} more differ", rest.len()),
        }
    }
}

/// Part, and labels with digest, by image.
fn rows(text: &str) -> BTreeMap<&str, (&str, &str)> {
    text.lines().skip(1).filter_map(row).collect()
}

/// Image, part, and labels with digest.
fn row(line: &str) -> Option<(&str, (&str, &str))> {
    let (part, rest) = line.split_once(",\"")?;
    let (image, rest) = rest.rsplit_once("\",")?;
    Some((image, (part, rest)))
}

fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::gel_table::Side;
    use std::path::PathBuf;

    fn manifest(images: &[(&str, usize, u8)]) -> Manifest {
        let record = |(name, class, _): &(&str, usize, u8)| Record {
            id: (*name).to_string(),
            name: (*name).to_string(),
            path: PathBuf::new(),
            side: Side::Train,
            table: PathBuf::new(),
            class: *class,
            heavy: 0,
            light: 0,
            line: 0,
        };
        let records: Vec<Record> = images.iter().map(record).collect();
        let fingerprints: Vec<[u8; 32]> = images.iter().map(|image| [image.2; 32]).collect();
        let train = (0..images.len()).collect();
        let none = Vec::new();
        Manifest::new(
            &records,
            &fingerprints,
            [
                (&train, Part::Train),
                (&none, Part::Validation),
                (&none, Part::Test),
            ],
        )
    }

    #[test]
    fn what_changed_is_named() {
        let was = manifest(&[("a,\".jpg", 0, 0xaa), ("b.jpg", 1, 0xbb)]);
        let changes = |now: &Manifest| now.changes_since(was.text().as_bytes(), &was.digest());
        let now = manifest(&[("a,\".jpg", 0, 0xac), ("b.jpg", 1, 0xbb)]);
        assert_eq!(changes(&now), "a,\"\".jpg has other content or labels");
        let now = manifest(&[("a,\".jpg", 2, 0xaa), ("c.jpg", 1, 0xbb)]);
        assert_eq!(
            changes(&now),
            "a,\"\".jpg has other content or labels, and 2 more differ"
        );
        let now = manifest(&[("b.jpg", 1, 0xbb), ("a,\".jpg", 0, 0xaa)]);
        assert_eq!(changes(&now), "the order of its images changed");
        assert_eq!(now.parts_in(was.text()), ["train", "train"]);
        let other = manifest(&[("b.jpg", 1, 0xbc), ("a,\".jpg", 0, 0xaa)]);
        assert_eq!(other.parts_in(was.text()), ["", "train"]);
        let unknown = now.changes_since(b"damaged", &was.digest());
        assert_eq!(unknown, "its images, labels or their order changed");
    }
}
