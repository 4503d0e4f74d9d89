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

/// The records of a folder without problems.
fn records(folder: &TempDir) -> Vec<Record> {
    let table = GelTable::read(folder.path());
    assert_eq!(table.problems, []);
    table.records
}

/// What is wrong with a folder: line and text.
fn problems(folder: &TempDir) -> Vec<(Option<u64>, String)> {
    let problems = GelTable::read(folder.path()).problems;
    problems.into_iter().map(|p| (p.line, p.what)).collect()
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
    assert_eq!(
        records(&one)[0],
        Record {
            id: "../data/1.JPG".to_string(),
            name: "data/1.JPG".to_string(),
            path: one.path().join("data/1.JPG"),
            class: 3,
            heavy: 1,
            light: 1,
            side: Side::Either,
            table: one.path().join("label/all.csv"),
            line: 2,
        }
    );
    let two = folder(&[
        (
            "train.csv",
            b"id,label,label1,label2\n../data/2.JPG,3,1,1\n../data/1.JPG,8,3,2\n",
        ),
        ("test.csv", b"id,label,label1,label2\n../data/3.JPG,2,0,2\n"),
        ("all.csv", b"not read"),
    ]);
    let found: Vec<_> = records(&two).iter().map(|r| (r.class, r.side)).collect();
    assert_eq!(
        found,
        [(8, Side::Train), (3, Side::Train), (2, Side::Test)],
        "by name"
    );
}

#[test]
fn names_are_sorted_by_their_numbers() {
    let mut names = [
        "data/10.jpg",
        "data/9.jpg",
        "b/1",
        "data/009.jpg",
        "data/x",
        "data/2b1",
        "data/2a10",
    ];
    names.sort_by_cached_key(|name| by_number(name));
    let sorted = [
        "b/1",
        "data/2a10",
        "data/2b1",
        "data/009.jpg",
        "data/9.jpg",
        "data/10.jpg",
        "data/x",
    ];
    assert_eq!(names, sorted);
}

#[test]
fn disguises_are_tolerated() {
    let disguised = all(
        "\u{feff}label2 ,extra, \"id\",label1,label\r\n\r\n 1 ,\"a,\nb\",\"../data/1.JPG\", 1,3\r\n  \r\n0,, ../data/./2.JPG ,0,0\r\n2,x,../label/../data/3.JPG,3,8,more\r\n",
    );
    let records = records(&disguised);
    let found: Vec<_> = records.iter().map(|r| (r.class, r.line)).collect();
    assert_eq!(found, [(3, 3), (0, 6), (8, 7)]);
    assert_eq!(records[2].path, disguised.path().join("data/3.JPG"));
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
    assert_eq!(GelTable::read(&file).problems.len(), 1);
    let missing = GelTable::read(Path::new("/no/such/folder")).problems;
    assert!(
        missing[0]
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
fn the_digest_ignores_order_only() {
    let digest = |content: &str| {
        let folder = all(content);
        digest_of_files(&records(&folder)).expect("a digest")
    };
    let base = digest("id,label,label1,label2\n../data/1.JPG,3,1,1\n../data/2.JPG,0,0,0\n");
    assert_eq!(base.len(), 64);
    assert_eq!(
        base,
        digest("id,label,label1,label2\n../data/./2.JPG,0,0,0\n../data/1.JPG,3,1,1\n")
    );
    for other in [
        "id,label,label1,label2\n../data/1.JPG,4,1,2\n../data/2.JPG,0,0,0\n",
        "id,label,label1,label2\n../data/1.JPG,3,1,1\n../data/3.JPG,0,0,0\n",
    ] {
        assert_ne!(base, digest(other));
    }
    let line = "id,label,label1,label2\n../data/1.JPG,0,0,0\n";
    let other = "id,label,label1,label2\n../data/2.JPG,0,0,0\n";
    let sided = |train: &str, test: &str| {
        let folder = folder(&[
            ("train.csv", train.as_bytes()),
            ("test.csv", test.as_bytes()),
        ]);
        digest_of_files(&records(&folder)).expect("a digest")
    };
    assert_ne!(sided(line, other), sided(other, line));
}

#[test]
fn tables_that_are_none_are_recognised() {
    let wide: Vec<u8> = "id,label\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let utf16 = folder(&[("all.csv", &[&[0xFF, 0xFE][..], &wide].concat())]);
    expect(&utf16, &[(None, "UTF-16")]);
    expect(
        &all("id;label;label1;label2\n../data/1.JPG;0;0;0\n"),
        &[(Some(1), "separated by ';'")],
    );
    expect(
        &all("id,label,label1,label2\n../data/1.JPG\0,0,0,0\n../data/1\u{1b}[31m.JPG,0,0,0\n"),
        &[
            (Some(2), "NUL"),
            (Some(3), "1\\u{1b}[31m.JPG` does not exist"),
        ],
    );
    let open = format!(
        "id,label,label1,label2\n../data/1.JPG,\"0,0,0\n{}",
        "x\n".repeat(9_000)
    );
    expect(&all(&open), &[(Some(2), "quotation mark")]);
    let long = format!("id,label,label1,label2\n{},0,0,0\n", "x".repeat(9_000));
    assert!(problems(&all(&long))[0].1.len() < 500);
    let many = format!("id,label,label1,label2\n{}", "x,x,x,x\n".repeat(9_000));
    let found = problems(&all(&many));
    assert!(found.len() < 10_010 && found[found.len() - 1].1.contains("too many"));
    #[cfg(unix)]
    {
        let linked = all("id,label,label1,label2\n../data/1.JPG,0,0,0\n");
        let outside = tempfile::NamedTempFile::new().expect("a file");
        let table = linked.path().join("label/train.csv");
        std::os::unix::fs::symlink(outside.path(), table).expect("a link");
        let found = problems(&linked);
        assert!(found[0].1.contains("leads out"), "{found:?}");
    }
}
