//! Good folders in every disguise, and every problem with its line.

use super::*;
use std::fs;
use tempfile::TempDir;

/// A folder with the images `data/1.JPG` to `data/6.JPG` (any bytes) and the given tables.
fn folder(tables: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["data", "label"] {
        fs::create_dir(folder.path().join(name)).expect("a folder");
    }
    for i in 1..=6 {
        let path = folder.path().join(format!("data/{i}.JPG"));
        fs::write(path, format!("image {i}")).expect("an image");
    }
    for (name, content) in tables {
        fs::write(folder.path().join("label").join(name), content).expect("a table");
    }
    folder
}

fn all(content: &str) -> TempDir {
    folder(&[("all.csv", content.as_bytes())])
}

/// What is wrong with a folder: line and text.
fn problems(folder: &TempDir) -> Vec<(Option<u64>, String)> {
    let problems = GelTable::read(folder.path()).expect_err("must fail");
    let each = problems.list().iter();
    each.map(|p| (p.line, p.what.clone())).collect()
}

/// Checks that exactly these problems are found, each by its line and a part of its text.
fn expect(folder: &TempDir, expected: &[(Option<u64>, &str)]) {
    let found = problems(folder);
    let mut pairs = found.iter().zip(expected);
    let fit = pairs.all(|(found, expected)| found.0 == expected.0 && found.1.contains(expected.1));
    assert!(found.len() == expected.len() && fit, "{found:#?}");
}

#[test]
fn classes_are_pairs_of_chains() {
    for (class, (_, heavy, light)) in CLASSES.into_iter().enumerate() {
        let expected = match (heavy, light) {
            (0, light) => light,
            (heavy, light) => 2 * heavy + light,
        };
        assert_eq!(class, expected);
    }
}

#[test]
fn one_table_or_two() {
    let one = all("id,label,label1,label2\n../data/1.JPG,3,1,1\n../data/2.JPG,0,0,0");
    let table = GelTable::read(one.path()).expect("reads");
    assert_eq!(table.split, None);
    assert_eq!(
        table.records[0],
        Record {
            id: "../data/1.JPG".to_string(),
            path: one.path().join("data/1.JPG"),
            class: 3,
            heavy: 1,
            light: 1,
            line: 2,
        }
    );
    let two = folder(&[
        (
            "train.csv",
            b"id,label,label1,label2\n../data/1.JPG,3,1,1\n../data/2.JPG,8,3,2\n",
        ),
        ("test.csv", b"id,label,label1,label2\n../data/3.JPG,2,0,2\n"),
        ("all.csv", b"not read"),
    ]);
    let table = GelTable::read(two.path()).expect("reads");
    let split = table.split.expect("a split");
    assert_eq!((split.train, split.test), (0..2, 2..3));
    assert_eq!(table.records[2].class, 2);
}

#[test]
fn disguises_are_tolerated() {
    let disguised = all(
        "\u{feff}label2 ,extra, \"id\",label1,label\r\n\r\n 1 ,\"a,\nb\",\"../data/1.JPG\", 1,3\r\n  \r\n0,, ../data/./2.JPG ,0,0\r\n2,x,../label/../data/3.JPG,3,8,more\r\n",
    );
    let table = GelTable::read(disguised.path()).expect("reads");
    let found: Vec<_> = table.records.iter().map(|r| (r.class, r.line)).collect();
    assert_eq!(found, [(3, 3), (0, 6), (8, 7)]);
    assert_eq!(table.records[2].path, disguised.path().join("data/3.JPG"));
}

#[test]
fn every_problem_is_found_with_its_line() {
    let bad = all("id,label,label1,label2
../data/1.JPG,x,1,1.0
../data/2.JPG,9,4,-1
../data/3.JPG,3,2,1

../data/4.JPG
../data/none.JPG,0,0,0
../data/5.JPG,0,0,0
../data/../data/5.JPG,0,0,0
../../outside.JPG,0,0,0
/etc/hostname,0,0,0
../data,0,0,0
,0,0,0
../data/6.JPG,99999999999999999999,0,0
");
    expect(
        &bad,
        &[
            (Some(2), "label `x` is not a whole number"),
            (Some(2), "label2 `1.0` is not a whole number"),
            (Some(3), "label 9 is unknown; it goes from 0 to 8"),
            (Some(3), "label1 4 is unknown"),
            (Some(3), "label2 -1 is unknown"),
            (
                Some(4),
                "label 3 (IgG-κ) means label1 1 and label2 1, but they are 2 and 1",
            ),
            (Some(6), "label is missing"),
            (Some(6), "label1 is missing"),
            (Some(6), "label2 is missing"),
            (Some(7), "image `../data/none.JPG` does not exist"),
            (Some(9), "all.csv:8"),
            (Some(10), "outside the data folder"),
            (Some(11), "outside the data folder"),
            (Some(12), "is not a file"),
            (Some(13), "id is missing"),
            (
                Some(14),
                "label `99999999999999999999` is not a whole number",
            ),
        ],
    );
    let problems = GelTable::read(bad.path()).expect_err("must fail");
    let error = Error::from(problems);
    let text = error.to_string();
    assert!(
        error.is_input() && text.contains("all.csv:2: label `x`"),
        "{text}"
    );
    assert!(text.ends_with("(the first of 16 problems)"), "{text}");
}

#[test]
fn tables_may_be_missing_or_empty() {
    expect(&folder(&[]), &[(None, "there is neither")]);
    expect(
        &all(""),
        &[
            (Some(1), "column `id` is missing"),
            (Some(1), "column `label` is missing"),
            (Some(1), "column `label1` is missing"),
            (Some(1), "column `label2` is missing"),
        ],
    );
    expect(
        &all("id,label,label1,label2\n"),
        &[(None, "lists no images")],
    );
    expect(
        &all("id,label,label,label2\n../data/1.JPG,0,0,0\n"),
        &[
            (Some(1), "`label` is there more than once"),
            (Some(1), "`label1` is missing"),
        ],
    );
    let train = (
        "train.csv",
        &b"id,label,label1,label2\n../data/1.JPG,0,0,0\n"[..],
    );
    expect(&folder(&[train]), &[(None, "cannot be opened")]);
    // An image in both tables would be tested on what was trained on.
    let both = folder(&[train, ("test.csv", train.1)]);
    expect(&both, &[(Some(2), "train.csv:2")]);
    let file = all("").path().join("label/all.csv");
    assert!(GelTable::read(&file).is_err());
    let missing = GelTable::read(Path::new("/no/such/folder")).expect_err("must fail");
    assert!(
        missing.list()[0]
            .to_string()
            .starts_with("/no/such/folder: the data folder")
    );
}

#[test]
fn bytes_that_are_not_text_are_reported() {
    let bad = folder(&[(
        "all.csv",
        b"id,label,label1,label2\n\xFF\xFE,0,0,0\n../data/1.JPG,0,0,0\n",
    )]);
    expect(&bad, &[(Some(2), "field 1 is not UTF-8")]);
    let binary = folder(&[("all.csv", &[0, 255, 0, 10, 0, 1])]);
    expect(&binary, &[(Some(1), "field 1 is not UTF-8")]);
}

#[cfg(unix)]
#[test]
fn links_must_not_lead_out() {
    let outside = tempfile::NamedTempFile::new().expect("a file");
    let linked = all(
        "id,label,label1,label2\n../data/link.JPG,0,0,0\n../data/again.JPG,0,0,0\n../data/1.JPG,0,0,0\n",
    );
    let data = linked.path().join("data");
    std::os::unix::fs::symlink(outside.path(), data.join("link.JPG")).expect("a link");
    std::os::unix::fs::symlink(data.join("1.JPG"), data.join("again.JPG")).expect("a link");
    expect(
        &linked,
        &[(Some(2), "outside"), (Some(4), "already listed")],
    );
}

#[test]
fn the_digest_sees_content_and_labels_only() {
    let digest = |content: &str| {
        let folder = all(content);
        let table = GelTable::read(folder.path()).expect("reads");
        table.digest(&table.fingerprints().expect("fingerprints"))
    };
    let base = digest("id,label,label1,label2\n../data/1.JPG,3,1,1\n../data/2.JPG,0,0,0\n");
    assert_eq!(base.len(), 64);
    assert_eq!(
        base,
        digest("id,label,label1,label2\n../data/2.JPG,0,0,0\n../data/1.JPG,3,1,1\n")
    );
    assert_ne!(
        base,
        digest("id,label,label1,label2\n../data/1.JPG,4,1,2\n../data/2.JPG,0,0,0\n")
    );
    assert_ne!(
        base,
        digest("id,label,label1,label2\n../data/1.JPG,3,1,1\n../data/3.JPG,0,0,0\n")
    );
}
