//! Damaged data sets in bulk: each is refused with the kind of its damage and a sentence that names the place, and the rest
//! can be used without it.

use axenic::data::gel_table::Kind;
use axenic::rng::Stream;
use axenic::systems::ife::config::{Config, Preset};
use axenic::systems::ife::images::{Images, Part};
use axenic::systems::ife::survey::{Bad, Purpose, Survey};
use axenic::train::Silent;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const HEAD: &str = "id,label,label1,label2\n";
/// Images of the whole set, four of each of three classes.
const COUNT: usize = 12;

fn picture(seed: usize) -> DynamicImage {
    let shade = |x: u32, y: u32| (x * 7 + y * 13 + seed as u32 * 31) as u8;
    RgbImage::from_fn(40, 30, |x, y| Rgb([shade(x, y), shade(y, x), 90])).into()
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).expect("encodes");
    bytes.into_inner()
}

/// Line i of the table, from 0.
fn line(i: usize) -> String {
    let (class, heavy, light) = [(0, 0, 0), (3, 1, 1), (8, 3, 2)][i % 3];
    let ending = if i.is_multiple_of(2) { "jpg" } else { "png" };
    format!("../data/{i}.{ending},{class},{heavy},{light}\n")
}

/// A data folder without problems.
struct Set {
    folder: tempfile::TempDir,
}

impl Set {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["data", "label"] {
            fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        let set = Self { folder };
        for i in 0..COUNT {
            let format = match i % 2 {
                0 => ImageFormat::Jpeg,
                _ => ImageFormat::Png,
            };
            fs::write(set.image(i), encoded(&picture(i), format)).expect("an image");
        }
        set.table("all.csv", &(0..COUNT).map(line).collect::<String>());
        set
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn image(&self, i: usize) -> PathBuf {
        let ending = if i.is_multiple_of(2) { "jpg" } else { "png" };
        self.path().join(format!("data/{i}.{ending}"))
    }

    fn table(&self, name: &str, lines: &str) {
        let path = self.path().join("label").join(name);
        fs::write(path, format!("{HEAD}{lines}")).expect("a table");
    }

    /// Puts other lines behind those of the table.
    fn append(&self, lines: impl AsRef<[u8]>) {
        let path = self.path().join("label/all.csv");
        let old = fs::read(&path).expect("a table");
        fs::write(&path, [&old, lines.as_ref()].concat()).expect("a table");
    }

    /// Splits the table in two.
    fn split(&self) {
        fs::remove_file(self.path().join("label/all.csv")).expect("removed");
        self.table("train.csv", &(0..9).map(line).collect::<String>());
        self.table("test.csv", &(9..COUNT).map(line).collect::<String>());
    }

    fn survey(&self) -> Survey {
        let purpose = Purpose::Training { batch: Some(4) };
        Survey::take(self.path(), &config(), purpose, 2, &mut Silent).expect("threads")
    }
}

fn config() -> Config {
    Preset::Demo.config().with("size=32").expect("a size")
}

/// A way to damage a set, and what must be found.
type Damage = (fn(&Set, &mut Stream), Kind);

/// A JPEG's and a PNG's number.
fn one(stream: &mut Stream) -> usize {
    stream.below(COUNT)
}

fn rewrite(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).expect("an image");
    change(&mut bytes);
    fs::write(path, bytes).expect("written");
}

const DAMAGES: [Damage; 24] = [
    (
        |set, s| rewrite(&set.image(one(s)), |b| b.truncate(s.below(b.len()))),
        Kind::DamagedImage,
    ),
    (
        |set, s| rewrite(&set.image(one(s)), |b| b.truncate(1 + s.below(60))),
        Kind::DamagedImage,
    ),
    (
        |set, s| {
            rewrite(&set.image(2 * s.below(6)), |b| {
                // Cut short, with an end marker again.
                b.truncate(b.len() - 12 - s.below(80));
                b.extend([0xFF, 0xD9]);
            })
        },
        Kind::DamagedImage,
    ),
    (
        |set, s| {
            rewrite(&set.image(1 + 2 * s.below(6)), |b| {
                let at = 41 + s.below(b.len() - 61);
                b[at] ^= 1 << s.below(8);
            })
        },
        Kind::DamagedImage,
    ),
    (
        |set, s| rewrite(&set.image(one(s)), |b| b.fill_with(|| s.below(256) as u8)),
        Kind::DamagedImage,
    ),
    (
        |set, s| rewrite(&set.image(one(s)), |b| b.clear()),
        Kind::DamagedImage,
    ),
    (
        |set, s| {
            rewrite(&set.image(one(s)), |b| {
                *b = b"GIF89a, or so it says".to_vec()
            })
        },
        Kind::DamagedImage,
    ),
    (
        |set, s| {
            rewrite(&set.image(one(s)), |b| {
                *b = bomb(40_000 + s.below(9_000) as u32)
            })
        },
        Kind::DamagedImage,
    ),
    (
        |set, s| fs::remove_file(set.image(one(s))).expect("removed"),
        Kind::MissingImage,
    ),
    (
        |set, s| {
            let image = set.image(one(s));
            fs::remove_file(&image).expect("removed");
            fs::create_dir(image).expect("a folder");
        },
        Kind::MissingImage,
    ),
    (
        |set, s| {
            drop(fs::copy(
                set.image(1),
                set.image(one(s) | 1).with_extension("more.png"),
            ))
        },
        Kind::UnlabelledImage,
    ),
    (
        |set, s| {
            fs::copy(set.image(0), set.path().join("data/again.jpg")).expect("copied");
            // With its own label or another's.
            set.append(["../data/again.jpg,0,0,0\n", "../data/again.jpg,3,1,1\n"][s.below(2)]);
        },
        Kind::SameBytes,
    ),
    (
        |set, s| {
            set.split();
            fs::copy(set.image(9), set.image(3 + 2 * s.below(2))).expect("copied");
        },
        Kind::SameBytes,
    ),
    (|set, s| set.append(line(one(s))), Kind::DuplicateId),
    (
        |set, s| set.append(line(one(s)).replace("../data", "../data/../label/../data")),
        Kind::DuplicateId,
    ),
    (
        |set, s| {
            set.append(
                [
                    "../../x.jpg,0,0,0\n",
                    "/etc/hostname,0,0,0\n",
                    "../data/../../../x,0,0,0\n",
                ][s.below(3)],
            )
        },
        Kind::OutsideFolder,
    ),
    (
        |set, s| {
            set.append(
                [
                    "1,9,0,0\n",
                    "1,-1,0,0\n",
                    "1,0,4,0\n",
                    "1,0,0,3\n",
                    "1,x,,\n",
                    "1,0,1,0\n",
                    "1,5,1,1\n",
                    "1,1e0,0,1\n",
                ][s.below(8)],
            )
        },
        Kind::Label,
    ),
    (
        |set, s| set.append([&b"\xFF\xFE,0,0,0\n"[..], b"a\0b,0,0,0\n"][s.below(2)]),
        Kind::Line,
    ),
    (
        |set, s| set.append(format!("{},\"0,0,0\n{}", one(s), "x".repeat(20_000))),
        Kind::Line,
    ),
    (
        |set, s| {
            let columns = ["id", "label", "label1", "label2"];
            let lost = columns[s.below(4)];
            let kept: Vec<&str> = columns
                .into_iter()
                .filter(|column| *column != lost)
                .collect();
            fs::write(
                set.path().join("label/all.csv"),
                kept.join(",") + "\n1,1,1\n",
            )
            .expect("written");
        },
        Kind::Column,
    ),
    (
        |set, s| {
            fs::write(
                set.path().join("label/all.csv"),
                [HEAD, "", "\u{feff}", "\0\0"][s.below(2)],
            )
            .expect("written")
        },
        Kind::Unreadable,
    ),
    (
        |set, _| fs::remove_dir_all(set.path().join("label")).expect("removed"),
        Kind::Unreadable,
    ),
    (
        |set, s| {
            fs::write(
                set.path().join("data/alone.png"),
                encoded(&picture(77), ImageFormat::Png),
            )
            .expect("written");
            set.append(["../data/alone.png,1,0,1\n", "../data/alone.png,6,2,2\n"][s.below(2)]);
        },
        Kind::SingleSample,
    ),
    (
        |set, _| set.table("all.csv", &[0, 3, 6].map(line).concat()),
        Kind::LargeBatch,
    ),
];

/// A PNG that says it has `side` × `side` pixels.
fn bomb(side: u32) -> Vec<u8> {
    let mut png = encoded(&picture(1), ImageFormat::Png);
    png[16..20].copy_from_slice(&side.to_be_bytes());
    png[20..24].copy_from_slice(&side.to_be_bytes());
    let mut crc = u32::MAX;
    for &byte in &png[12..29] {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    png[29..33].copy_from_slice(&(!crc).to_be_bytes());
    png
}

#[test]
fn a_set_without_problems_is_taken_whole() {
    let set = Set::new();
    assert_eq!(set.survey().problems, []);
    let images = set.survey().images(&config(), Bad::Refused).expect("good");
    assert_eq!(images.part(Part::All).len(), COUNT);
    set.split();
    let split = set.survey().images(&config(), Bad::Refused).expect("good");
    assert_eq!(split.part(Part::Test).len(), 3);
    assert_ne!(split.digest, images.digest);
}

#[test]
fn hundreds_of_damaged_sets_are_refused_by_name() {
    for round in 0..COUNT as u64 {
        for (i, (damage, kind)) in DAMAGES.iter().enumerate() {
            let set = Set::new();
            let mut stream = Stream::new(7, "damage", round, i as u64);
            damage(&set, &mut stream);
            let place = format!("damage {i}, round {round}");
            let survey = set.survey();
            let found = survey.problems.iter().any(|problem| {
                // An empty table lacks its columns as well.
                problem.kind == *kind || (*kind, problem.kind) == (Kind::Unreadable, Kind::Column)
            });
            assert!(
                found,
                "{place}: {kind:?} is not among {:?}",
                survey.problems
            );
            let inside = set.path().display().to_string();
            for problem in &survey.problems {
                let sentence = problem.to_string();
                let is_sound = sentence.starts_with(&inside)
                    && sentence.len() < 1000
                    && !sentence.contains(char::is_control);
                assert!(is_sound, "{place}: {sentence:?}");
            }
            let mut kinds = survey.problems.iter().map(|problem| problem.kind);
            let can_be_left_out = kinds.all(Kind::can_be_left_out);
            let refused = survey.images(&config(), Bad::Refused);
            assert!(refused.is_err_and(|e| e.is_input()), "{place}");
            let rest = set.survey().images(&config(), Bad::Skipped);
            assert_eq!(rest.is_ok(), can_be_left_out, "{place}");
            if let Ok(images) = rest {
                assert!(!images.left_out.is_empty(), "{place}");
                let all = images.part(Part::All);
                let batches = images.batches(&all, 5, None, 0, 1).expect("threads");
                assert!(batches.into_iter().all(|batch| batch.is_ok()), "{place}");
            }
        }
    }
}

#[test]
fn the_order_of_lines_changes_nothing() {
    let set = Set::new();
    let open = || Images::open(set.path(), &config()).expect("good");
    let before = open();
    set.table("all.csv", &(0..COUNT).rev().map(line).collect::<String>());
    let after = open();
    assert_eq!(before.digest, after.digest);
    for part in [Part::Train, Part::Validation, Part::Test] {
        let names = |images: &Images| {
            let items = images.part(part).into_iter();
            items
                .map(|item| images.record(item).name.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&before), names(&after));
    }
}

#[test]
fn other_kinds_of_pictures_are_converted_and_counted() {
    let set = Set::new();
    let write = |i: usize, picture: DynamicImage| {
        fs::write(set.image(i), encoded(&picture, ImageFormat::Png)).expect("written");
    };
    write(0, picture(0).grayscale());
    write(1, DynamicImage::ImageRgb16(picture(1).into_rgb16()));
    let mut clear = picture(2).into_rgba8();
    clear.pixels_mut().for_each(|pixel| pixel[3] = 100);
    write(2, clear.into());
    let survey = set.survey();
    assert_eq!(survey.problems, []);
    let counts: Vec<_> = survey.conversions().into_values().collect();
    assert_eq!(counts, [1, 1, 1]);
    let images = survey.images(&config(), Bad::Refused).expect("good");
    assert!(images.converted().contains("1: greyscale"));
}

#[test]
fn the_program_says_it_and_stops() {
    let set = Set::new();
    let axenic = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_axenic"));
        let folder = set.path().to_str().expect("a plain path");
        command.args(arguments).args(["--data", folder]);
        let output = command.output().expect("it starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    assert_eq!(axenic(&["check", "ife"]).0, Some(0));
    assert_eq!(axenic(&["check", "ife", "--set", "batch=13"]).0, Some(1));
    fs::write(set.image(4), bomb(50_000)).expect("written");
    set.append("../data/none.jpg,0,0,0\n");
    let begin = Instant::now();
    let (code, table, _) = axenic(&["check", "ife"]);
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert_eq!(code, Some(1));
    assert!(
        table.contains("all.csv:6 ") && table.contains("50000×50000"),
        "{table}"
    );
    assert!(
        table.contains("all.csv:14 ") && table.contains("does not exist"),
        "{table}"
    );
    let (code, json, _) = axenic(&["check", "ife", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(
        (code, &json["problems"][0]["kind"]),
        (Some(1), &"damaged_image".into())
    );
    assert_eq!(json["problems"][1]["line"], 14);
    let out = set.path().join("run");
    let train = [
        "train", "ife", "--preset", "demo", "--set", "batch=4", "--set", "size=32", "--set",
        "width=2", "--set", "epochs=1", "--device", "cpu", "--out",
    ];
    let train = [&train[..], &[out.to_str().expect("a plain path")]].concat();
    let (code, _, error) = axenic(&train);
    assert!(
        code == Some(1) && error.contains("--skip-bad") && !out.exists(),
        "{error}"
    );
    let (code, _, error) = axenic(&[&train[..], &["--skip-bad"]].concat());
    assert_eq!(code, Some(0), "{error}");
    let report = fs::read_to_string(out.join("report.html")).expect("a report");
    assert!(report.contains("Left out") && report.contains("all.csv:14"));
}
