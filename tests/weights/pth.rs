//! Files of torch.save: those that PyTorch itself wrote hold what they should, and hostile ones are refused in a sentence,
//! without being executed and without much memory.

use super::archive::{Member, dictionary, member, saved, saved_legacy, tensor, text, zip};
use super::{MOST, NOW, turn};
use axenic::rng::Stream;
use axenic::train::stored::Format;
use axenic::train::{WeightFile, Weights, fit};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/weights")
        .join(name)
}

fn bytes_of(name: &str) -> Vec<u8> {
    std::fs::read(golden(name)).expect("a golden file")
}

fn expected() -> Weights {
    Weights::load(&golden("expected.safetensors")).expect("golden numbers")
}

/// The sentence with which a file is refused.
fn refused(bytes: &[u8]) -> String {
    let text = match WeightFile::parse(bytes) {
        Ok(file) => panic!("{:?} was read", file.tensors),
        Err(e) => e.to_string(),
    };
    assert!(!text.contains('\n') && text.len() < 400, "{text}");
    text
}

#[test]
fn every_way_of_saving_gives_the_same_numbers() {
    let _turn = turn();
    let expected = expected();
    for name in ["plain", "parameters", "views", "half", "bfloat16", "double"] {
        for (ending, format) in [("", Format::Torch), ("-legacy", Format::TorchLegacy)] {
            let path = golden(&format!("{name}{ending}.pth"));
            let file = WeightFile::read(&path).expect("a file of torch.save");
            assert_eq!(file.format, format);
            let (weights, account) = fit::as_they_are(&file, None).expect("tensors");
            assert_eq!(weights.tensors.len(), expected.tensors.len());
            for (name, array) in &expected.tensors {
                let own = &weights.tensors[name];
                assert_eq!(own.shape(), array.shape(), "{path:?} {name}");
                assert_eq!(own.to_f64(), array.to_f64(), "{path:?} {name}");
            }
            let halves = if ["half", "bfloat16"].contains(&name) {
                1
            } else {
                0
            };
            assert_eq!(account.converted.len(), halves, "{path:?}");
        }
    }
}

/// PyTorch takes counters as 64-bit integers.
#[test]
fn counters_are_written_as_long_integers() {
    let _turn = turn();
    let file = WeightFile::read(&golden("plain.pth")).expect("a file");
    let (weights, _) = fit::as_they_are(&file, None).expect("tensors");
    let bytes = weights.to_bytes().expect("a file");
    assert_eq!(
        bytes,
        weights.to_bytes().expect("a file"),
        "equal weights, equal bytes"
    );
    let again = WeightFile::parse(&bytes).expect("our file");
    let find = |name: &str| again.tensors.iter().find(|own| own.name == name);
    let counter = find("bn.num_batches_tracked").expect("it is kept");
    assert_eq!((counter.dtype.name(), &counter.shape[..]), ("I64", &[][..]));
    assert_eq!(Weights::parse_own(&bytes).expect("whole"), weights);
}

#[test]
fn nesting_is_found_and_said() {
    let _turn = turn();
    for name in ["nested.pth", "nested-legacy.pth"] {
        let file = WeightFile::read(&golden(name)).expect("a file");
        let other = |path: &str| file.others.iter().find(|(own, _)| own == path);
        assert_eq!(other("epoch").map(|(_, what)| what.as_str()), Some("3"));
        assert_eq!(
            other("args").map(|(_, what)| what.as_str()),
            Some("argparse.Namespace")
        );
        let (teacher, account) = fit::as_they_are(&file, None).expect("tensors");
        assert_eq!(account.source.entry, "teacher");
        assert_eq!(account.source.prefix, "module.");
        assert!(
            account.source.reason.contains("`student`"),
            "{}",
            account.source.reason
        );
        assert_eq!(*teacher.tensors["dino_head.weight"].to_f64(), [1.0, 1.0]);
        let (student, account) = fit::as_they_are(&file, Some("student")).expect("tensors");
        assert_eq!(account.source.prefix, "module.backbone.");
        assert_eq!(
            account.converted[0].to_string(),
            "4 tensors of type F16 became F32"
        );
        assert_eq!(account.converted.len(), 1);
        assert_eq!(*student.tensors["scale"].to_f64(), [2.5]);
        let skipped = |path: &str| account.lines.iter().find(|line| line.name == path);
        for path in ["mask", "optimizer.state.0.exp_avg"] {
            let line = skipped(path).expect("accounted for");
            assert_eq!(line.fate.word(), "skipped", "{path}");
        }
        let e = fit::as_they_are(&file, Some("body")).expect_err("there is none");
        assert!(e.to_string().contains("`teacher`"), "{e}");
    }
}

/// A file cut off anywhere is refused; one with a flipped bit is refused or gives tensors of the same total size at most.
#[test]
fn damaged_files_are_refused_or_give_numbers() {
    let _turn = turn();
    for name in [
        "views.pth",
        "views-legacy.pth",
        "parameters.pth",
        "nested-legacy.pth",
    ] {
        let whole = bytes_of(name);
        for length in 0..whole.len() {
            refused(&whole[..length]);
        }
        let mut flipped = whole.clone();
        let mut found = 0;
        for bit in 0..8 * whole.len() {
            flipped[bit / 8] ^= 1 << (bit % 8);
            match WeightFile::parse(&flipped) {
                Err(_) => found += 1,
                Ok(file) => {
                    for tensor in &file.tensors {
                        let _ = file.array(tensor);
                    }
                }
            }
            flipped[bit / 8] ^= 1 << (bit % 8);
        }
        // Of an archive everything has a checksum or is checked, but for times, versions and what lies between members.
        assert!(found > 8 * whole.len() / 4, "{name}: {found}");
    }
}

#[test]
fn a_thousand_damages_cost_little() {
    let _turn = turn();
    for (seed, name) in ["nested.pth", "nested-legacy.pth"].iter().enumerate() {
        let whole = bytes_of(name);
        for i in 0..500 {
            let mut stream = Stream::new(seed as u64, "damage", i, 0);
            let mut bytes = whole.clone();
            for _ in 0..1 + stream.below(4) {
                let (at, length) = (stream.below(bytes.len()), 1 + stream.below(32));
                let end = (at + length).min(bytes.len());
                match stream.below(4) {
                    0 => bytes[at..end].fill_with(|| stream.below(256) as u8),
                    1 => bytes[at..end].fill(0xFF),
                    2 => drop(bytes.drain(at..end)),
                    _ => {
                        let again = bytes[at..end].to_vec();
                        bytes.splice(at..at, again);
                    }
                }
            }
            // Read or refused, both are right.
            let _ = cheap(&bytes);
        }
    }
}

/// Reading these bytes takes a few times as much memory at most.
fn cheap(bytes: &[u8]) -> axenic::Result<WeightFile> {
    let before = NOW.load(Ordering::SeqCst);
    MOST.store(before, Ordering::SeqCst);
    let file = WeightFile::parse(bytes);
    let most = MOST.load(Ordering::SeqCst) - before;
    let limit = 12 * bytes.len() + (128 << 10);
    assert!(most < limit, "{most} bytes for a file of {}", bytes.len());
    file
}

/// Pickles, the storages' data, and what the sentence says.
#[test]
fn hostile_pickles_are_refused_by_name() {
    let _turn = turn();
    let code = |code: &[u8]| [b"\x80\x02", code].concat();
    let name = |name: &str| text(name);
    let one = |key, count, offset, shape: &[i64], strides: &[i64]| {
        dictionary(&[(
            "a",
            tensor("FloatStorage", key, count, offset, shape, strides),
        )])
    };
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (
            code(b"cposix\nsystem\nX\x02\x00\x00\x00ls\x85R."),
            "\"posix.system\"",
        ),
        (
            code(b"c__builtin__\neval\nX\x01\x00\x00\x001\x85R."),
            "\"__builtin__.eval\"",
        ),
        (
            code(&[name("os"), name("system"), b"\x93.".to_vec()].concat()),
            "\"os.system\"",
        ),
        (code(b"ctorch.hub\nload\n."), "\"torch.hub.load\""),
        (code(b"ctorch\nload\n."), "\"torch.load\""),
        (code(b"(ios\nsystem\n."), "0x69"),
        (code(b"\x82\x01."), "0x82"),
        (code(b"}Pkey\ns."), "0x50"),
        (code(b"."), "more than there is"),
        (code(b"}(X\x01\x00\x00\x00au."), "without a value"),
        (code(b"]X\x01\x00\x00\x00aK\x01s."), "no dictionary"),
        (code(b"h\x07."), "number 7"),
        (code(b"X\xff\xff\xff\xffa."), "cut off"),
        (code(b"}q\x00h\x00h\x00s."), "neither text nor number"),
        (code(b"K\x01."), "no dictionary of tensors"),
        (code(b"ccollections\nOrderedDict\nK\x05\x85R."), "calls"),
        (code(b"ctorch\nSize\nK\x05\x85R."), "size"),
        (code(b"K\x05Q."), "no storage"),
        (one("0", 6, 0, &[2, 3], &[3, 2]), "reaches to element 8"),
        (one("0", 6, 5, &[2], &[1]), "reaches to element 7"),
        (one("0", 6, -1, &[2], &[1]), "calls"),
        (one("0", 6, 0, &[2], &[-1]), "calls"),
        (one("0", 6, 0, &[2, 1], &[1]), "impossible"),
        (one("0", 6, 0, &[i64::MAX, i64::MAX], &[1, 1]), "impossible"),
        (
            one("0", 6, i64::MAX, &[2], &[i64::MAX]),
            "reaches to element",
        ),
        (one("0", 6, i64::MAX, &[3], &[i64::MAX]), "impossible"),
        (one("0", 6, 0, &[1 << 40], &[0]), "many times"),
        (one("0", 5, 0, &[2], &[1]), "does not fit"),
        (one("0", i64::MAX, 0, &[2], &[1]), "does not fit"),
        (one("1", 6, 0, &[2], &[1]), "missing"),
        (one("../0", 6, 0, &[2], &[1]), "missing"),
        (
            dictionary(&[
                ("a", tensor("FloatStorage", "0", 6, 0, &[2], &[1])),
                ("b", tensor("IntStorage", "0", 6, 0, &[2], &[1])),
            ]),
            "two ways",
        ),
    ];
    for (pickle, word) in cases {
        let said = match cheap(&saved(&pickle, &[&[0; 24]])) {
            Ok(file) => panic!("{word}: {:?} was read", file.tensors),
            Err(e) => e.to_string(),
        };
        assert!(
            said.contains(word) && !said.contains('\n'),
            "{word}: {said}"
        );
    }
    let fits = one("0", 6, 1, &[2, 2], &[1, 2]);
    let file = cheap(&saved(&fits, &[&[0; 24]])).expect("an honest file");
    assert_eq!(file.tensors[0].shape, [2, 2]);
}

#[test]
fn bombs_cost_little() {
    let _turn = turn();
    let mut pickles: Vec<Vec<u8>> = [
        &b"}"[..],
        b"]",
        b"(",
        b"N",
        b")",
        b"}0",
        b"]\x94",
        b"K\x01",
        b"(t",
        b")\x85",
    ]
    .iter()
    .map(|code| [b"\x80\x02".to_vec(), code.repeat(100_000), b".".to_vec()].concat())
    .collect();
    // A dictionary in itself, and dictionaries that all hold the next one many times.
    pickles.push(b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.".to_vec());
    let mut web = b"\x80\x02}q\x00".to_vec();
    for level in 1..=200u8 {
        web.extend(*b"}q");
        web.push(level);
        web.push(b'(');
        for name in 0..20 {
            web.extend(text(&name.to_string()));
            web.extend([b'h', level - 1]);
        }
        web.push(b'u');
    }
    web.push(b'.');
    pickles.push(web);
    // A long name that is used again and again, and a list that becomes many dictionaries.
    let mut names = b"\x80\x02".to_vec();
    names.extend(text(&"n".repeat(5_000)));
    names.extend(*b"q\x00}");
    for _ in 0..3_000 {
        names.extend(*b"h\x00}s");
    }
    names.push(b'.');
    pickles.push(names);
    let mut lists = b"\x80\x02](".to_vec();
    lists.extend(b"K\x01K\x02\x86".repeat(2_000));
    lists.extend(*b"eq\x00");
    lists.extend(b"ccollections\nOrderedDict\nh\x00\x85R".repeat(2_000));
    lists.push(b'.');
    pickles.push(lists);
    for (i, pickle) in pickles.iter().enumerate() {
        let _ = cheap(&saved(pickle, &[]));
        let _ = cheap(&saved_legacy(pickle, &[]));
        assert!(
            i < 10 || cheap(&saved(pickle, &[])).is_err() || i == 10,
            "{i}"
        );
    }
    // Views that all take the whole of one storage.
    let view = tensor("FloatStorage", "0", 1000, 0, &[1000], &[1]);
    let names: Vec<String> = (0..1000).map(|i| i.to_string()).collect();
    let pairs: Vec<(&str, Vec<u8>)> = names
        .iter()
        .map(|name| (name.as_str(), view.clone()))
        .collect();
    let shared = |count: usize| cheap(&saved(&dictionary(&pairs[..count]), &[&[0; 4000]]));
    assert!(shared(20).is_ok(), "sharing is no crime");
    let said = shared(1000).expect_err("refused").to_string();
    assert!(said.contains("many times"), "{said}");
    let row = tensor("FloatStorage", "0", 1000, 0, &[1000, 1000], &[0, 1]);
    let said = cheap(&saved(&dictionary(&[("a", row)]), &[&[0; 4000]]));
    assert!(
        said.expect_err("refused")
            .to_string()
            .contains("many times")
    );
}

#[test]
fn archives_that_lie_are_refused() {
    let _turn = turn();
    let pickle = dictionary(&[("a", tensor("FloatStorage", "0", 2, 0, &[2], &[1]))]);
    let whole = [member("m/data.pkl", &pickle), member("m/data/0", &[0; 8])];
    assert!(cheap(&zip(&whole)).is_ok());
    let changed = |change: fn(&mut Member)| {
        let mut members = whole.clone();
        change(&mut members[1]);
        zip(&members)
    };
    let with = |name: &str| zip(&[&whole[..], &[member(name, b"big")]].concat());
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (changed(|own| own.method = 8), "compressed"),
        (changed(|own| own.flags = 1), "encrypted"),
        (changed(|own| own.crc_error = 1), "checksum"),
        (
            changed(|own| own.local_name = "m/data/1".into()),
            "two places",
        ),
        (changed(|own| own.length = Some(4000)), "states 4000 bytes"),
        (
            changed(|own| own.length = Some(u32::MAX)),
            "states 4294967295 bytes",
        ),
        (changed(|own| own.length = Some(9)), "reaches into"),
        (changed(|own| own.offset = Some(1 << 30)), "states 30 bytes"),
        (changed(|own| own.offset = Some(1)), "two places"),
        (
            changed(|own| (own.name, own.local_name) = ("m/../0".into(), "m/../0".into())),
            "plain path",
        ),
        (
            changed(|own| (own.name, own.local_name) = ("/m/0".into(), "/m/0".into())),
            "plain path",
        ),
        (
            changed(|own| (own.name, own.local_name) = ("m\\0".into(), "m\\0".into())),
            "plain path",
        ),
        (with("m/data/0"), "twice"),
        (with("n/data.pkl"), "one folder"),
        (with("m/byteorder"), "little-endian"),
        (zip(&whole[1..]), "one folder"),
        (zip(&whole[..1]), "missing"),
        (zip(&[]), "one folder"),
        ([&zip(&whole)[..], &[0]].concat(), "cut off"),
        (zip(&whole)[..60].to_vec(), "cut off"),
    ];
    for (bytes, word) in cases {
        let said = cheap(&bytes).expect_err(word).to_string();
        assert!(
            said.contains(word) && !said.contains('\n'),
            "{word}: {said}"
        );
    }
    // Two members over each other: the second's header lies in the first's data.
    let inner = zip(&[member("m/data/0", &[0; 8])]);
    let mut members = vec![member("m/x", &inner), member("m/data/0", &[0; 8])];
    members[1].offset = Some(33);
    assert!(refused(&zip(&members)).contains("over each other"));
    // Long lengths where short ones would do are unusual, and right; where they lie, they are checked as others.
    let long = |length: u64| {
        let mut members = whole.clone();
        members[1].length = Some(u32::MAX);
        let mut extra = b"\x01\x00\x10\x00".to_vec();
        extra.extend([length, length].map(u64::to_le_bytes).as_flattened());
        members[1].extra = extra;
        zip(&members)
    };
    assert!(cheap(&long(8)).is_ok());
    assert!(refused(&long(u64::MAX)).contains("states"));
}

#[test]
fn old_files_that_lie_are_refused() {
    let _turn = turn();
    let pickle = dictionary(&[("a", tensor("FloatStorage", "k", 2, 0, &[2], &[1]))]);
    let data = [0; 8];
    assert!(cheap(&saved_legacy(&pickle, &[("k", 2, &data)])).is_ok());
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (saved_legacy(&pickle, &[]), "missing"),
        (saved_legacy(&pickle, &[("l", 2, &data)]), "no tensor"),
        (saved_legacy(&pickle, &[("k", 3, &data)]), "another length"),
        (saved_legacy(&pickle, &[("k", 2, &data[..7])]), "cut off"),
        (saved_legacy(&pickle, &[("k", 2, &[0; 9])]), "last 1 bytes"),
        (
            saved_legacy(&pickle, &[("k", 2, &data), ("k", 2, &data)]),
            "twice",
        ),
        (
            b"\x80\x02\x8a\x0a1234567890.".to_vec(),
            "not one that torch.save wrote",
        ),
    ];
    for (bytes, word) in cases {
        let said = cheap(&bytes).expect_err(word).to_string();
        assert!(
            said.contains(word) && !said.contains('\n'),
            "{word}: {said}"
        );
    }
    let mut big = saved_legacy(&pickle, &[("k", 2, &data)]);
    let at = big.iter().position(|&byte| byte == 0x88).expect("true");
    big[at] = 0x89;
    assert!(refused(&big).contains("little-endian"));
}
