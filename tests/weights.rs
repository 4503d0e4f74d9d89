//! Weight files from strangers: whatever is done to a file, it is refused with a sentence that names it, or gives exactly
//! what it gave before. No file makes the program ask for more memory than a few times its own size.

#[path = "weights/archive.rs"]
mod archive;
#[path = "weights/cards.rs"]
mod cards;
#[path = "weights/entries.rs"]
mod entries;
#[path = "weights/fitting.rs"]
mod fitting;
#[path = "weights/pth.rs"]
mod pth;

use axenic::Array;
use axenic::rng::Stream;
use axenic::shape::Shape;
use axenic::train::Weights;
use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts what is allocated, and remembers the most at once.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "an allocator cannot be written without")]
// SAFETY: everything is passed on to the system's allocator as it comes.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::SeqCst) + layout.size();
        MOST.fetch_max(now, Ordering::SeqCst);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::SeqCst);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The tests of this file take turns, so that what is counted is one test's.
static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn turn() -> std::sync::MutexGuard<'static, ()> {
    TURN.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn weights() -> Weights {
    let mut weights = Weights::default();
    let array = |shape: &[usize], values: &[f32]| Array::new(Shape::new(shape)?, values.to_vec());
    for (name, shape, values) in [
        (
            "encoder.conv1.weight",
            &[2, 3][..],
            &[0.5, -1.0, 2.0, 3.5, 0.0, 1e-9][..],
        ),
        ("encoder.bn1.bias", &[2], &[1.0, 2.0]),
        ("scalar", &[], &[7.0]),
    ] {
        let array = array(shape, values).expect("fits");
        weights.tensors.insert(name.into(), array);
    }
    let steps = Array::new([2], vec![3u32, 4]).expect("fits");
    weights.tensors.insert("steps".into(), steps);
    let standing = serde_json::json!({ "step": 12, "sums": [1.5, 2e-7, 1e300], "data": "π\n\"" });
    weights.metadata.insert("standing".into(), standing);
    weights
}

struct Place {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("some.safetensors");
        Self {
            _folder: folder,
            path,
        }
    }

    /// Writes over a few bytes of the file.
    fn change(&self, at: usize, bytes: &[u8]) {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .open(&self.path)
            .expect("opens");
        file.seek(SeekFrom::Start(at as u64)).expect("seeks");
        file.write_all(bytes).expect("written");
    }

    /// Loads these bytes from a file.
    fn load(&self, bytes: &[u8]) -> axenic::Result<Weights> {
        std::fs::write(&self.path, bytes).expect("written");
        Weights::load(&self.path)
    }

    /// The sentence with which these bytes are refused.
    fn refused(&self, bytes: &[u8]) -> String {
        let text = self.load(bytes).expect_err("refused").to_string();
        assert!(
            text.contains("some.safetensors: ") && !text.contains('\n'),
            "{text}"
        );
        text
    }
}

/// A file of this header and so many bytes of data.
fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

#[test]
fn every_flipped_bit_of_an_own_file_is_found() {
    let _turn = turn();
    let place = Place::new();
    std::fs::write(&place.path, weights().to_bytes().expect("a file")).expect("saved");
    assert_eq!(Weights::load_own(&place.path).expect("whole"), weights());
    let whole = std::fs::read(&place.path).expect("read");
    for bit in 0..8 * whole.len() {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        place.change(bit / 8, &flipped[bit / 8..][..1]);
        assert!(
            Weights::load_own(&place.path).is_err(),
            "bit {bit} of byte {}",
            bit / 8
        );
        place.change(bit / 8, &whole[bit / 8..][..1]);
    }
    for length in 0..whole.len() {
        place.refused(&whole[..length]);
    }
    place.refused(&[&whole[..], &[0]].concat());
}

#[test]
fn a_thousand_damages_of_an_own_file_are_found() {
    let _turn = turn();
    let place = Place::new();
    std::fs::write(&place.path, weights().to_bytes().expect("a file")).expect("saved");
    let whole = std::fs::read(&place.path).expect("read");
    let mut found = 0;
    for i in 0..1000 {
        let mut stream = Stream::new(1, "damage", i, 0);
        let mut bytes = whole.clone();
        for _ in 0..1 + stream.below(4) {
            let (at, length) = (stream.below(bytes.len()), 1 + stream.below(32));
            let end = (at + length).min(bytes.len());
            match stream.below(5) {
                0 => bytes[at..end].fill(0),
                1 => bytes[at..end].fill_with(|| stream.below(256) as u8),
                2 => bytes[at..end].reverse(),
                3 => drop(bytes.drain(at..end)),
                _ => {
                    let again = bytes[at..end].to_vec();
                    bytes.splice(at..at, again);
                }
            }
        }
        if bytes != whole {
            std::fs::write(&place.path, &bytes).expect("written");
            // Blanks between the header's members mean nothing; whatever else is changed is found.
            match Weights::load_own(&place.path) {
                Ok(loaded) => assert_eq!(loaded, weights(), "damage {i}"),
                Err(_) => found += 1,
            }
        }
    }
    assert!(found >= 950, "{found} of 1000");
}

/// A stranger's file has no digest: damage to a number is another number. It must still never be more than that.
#[test]
fn damage_of_a_strangers_file_is_an_error_or_other_numbers() {
    let _turn = turn();
    let place = Place::new();
    let header = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[3,2],"data_offsets":[0,24]},"b":{"dtype":"I64","shape":[2],"data_offsets":[24,40]}}"#;
    let whole = file(header, 40);
    let specs = |weights: &Weights| {
        let each = weights.tensors.iter();
        each.map(|(name, array)| (name.clone(), array.spec()))
            .collect::<Vec<_>>()
    };
    let expected = place.load(&whole).expect("whole");
    for bit in 0..8 * whole.len() {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(loaded) = place.load(&flipped) {
            if bit / 8 >= 8 + header.len() {
                assert_eq!(specs(&loaded), specs(&expected), "bit {bit}");
            } else {
                // A letter of a name or of the foreign metadata: the numbers are those that were there.
                let mut left: Vec<_> = loaded.tensors.values().collect();
                for array in expected.tensors.values() {
                    let at = left.iter().position(|own| *own == array);
                    left.remove(at.unwrap_or_else(|| panic!("bit {bit}: numbers are lost")));
                }
            }
        }
    }
}

/// A header's member.
fn tensor(name: &str, dtype: &str, shape: &str, from: u64, to: u64) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{from},{to}]}}"#)
}

/// A header, bytes of data, and what the sentence says; nothing if the file is right.
type Lie = (String, usize, &'static [&'static str]);

fn lying_tensors() -> Vec<Lie> {
    let a = tensor("a", "F32", "[2]", 0, 8);
    vec![
        (
            format!("{{{a},{}}}", tensor("b", "F32", "[2]", 4, 12)),
            12,
            &["\"b\"", "inside"],
        ),
        (
            format!("{{{a},{}}}", tensor("b", "F32", "[1]", 12, 16)),
            16,
            &["\"b\"", "8"],
        ),
        (
            format!("{{{}}}", tensor("b", "F32", "[1]", 4, 8)),
            8,
            &["\"b\"", "from 0"],
        ),
        (format!("{{{a}}}"), 12, &["last 4 bytes"]),
        (format!("{{{a}}}"), 4, &["\"a\"", "0 to 8 of 4"]),
        (format!("{{{a},{a}}}"), 8, &["\"a\"", "twice"]),
        (
            format!(
                "{{{},{}}}",
                tensor("b", "F32", "[0]", 0, 0),
                tensor("b", "F32", "[0]", 0, 0)
            ),
            0,
            &["\"b\"", "twice"],
        ),
        (
            format!("{{{}}}", tensor("b", "F32", "[2]", 8, 0)),
            8,
            &["\"b\""],
        ),
        (
            format!("{{{}}}", tensor("b", "F32", "[3]", 0, 8)),
            8,
            &["\"b\"", "does not fit"],
        ),
        (
            format!("{{{}}}", tensor("b", "F64", "[2]", 0, 8)),
            8,
            &["\"b\"", "does not fit"],
        ),
        (
            format!("{{{}}}", tensor("b", "BF17", "[4]", 0, 8)),
            8,
            &["\"b\"", "BF17"],
        ),
        (
            format!("{{{}}}", tensor("b", "U8", "[8]", 0, 8)),
            8,
            &["\"b\"", "U8", "BF16"],
        ),
        (format!("{{{}}}", tensor("b", "BF16", "[4]", 0, 8)), 8, &[]),
        (format!("{{{}}}", tensor("b", "F16", "[2,2]", 0, 8)), 8, &[]),
        (
            format!("{{{}}}", tensor("b", "F16", "[3]", 0, 8)),
            8,
            &["\"b\"", "does not fit"],
        ),
        (
            format!(
                "{{{}}}",
                tensor("b", "F32", "[18446744073709551615,4]", 0, 8)
            ),
            8,
            &["\"b\""],
        ),
        (
            format!(
                "{{{}}}",
                tensor("b", "F32", "[4611686018427387904,2]", 0, 0)
            ),
            0,
            &["\"b\""],
        ),
        (
            format!("{{{}}}", tensor("b", "F32", "[1,1,1,1,1,1,1]", 0, 4)),
            4,
            &["\"b\"", "axes"],
        ),
        (
            format!("{{{}}}", tensor("b", "F32", "[-1]", 0, 4)),
            4,
            &["\"b\""],
        ),
        (
            format!("{{{}}}", tensor("b", "F32", "[1.0]", 0, 4)),
            4,
            &["\"b\""],
        ),
        (
            format!("{{{}}}", tensor("b", "F32", "[1]", 0, u64::MAX)),
            4,
            &["\"b\""],
        ),
        (format!("{{{}}}", tensor("b", "I64", "[1]", 0, 8)), 8, &[]),
    ]
}

fn lying_headers() -> Vec<Lie> {
    vec![
        (
            r#"{"b":{"dtype":"F32","shape":[0]}}"#.into(),
            0,
            &["\"b\"", "data_offsets"],
        ),
        (
            r#"{"b":{"dtype":"F32","dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#.into(),
            0,
            &["\"b\"", "duplicate"],
        ),
        (r#"{"b":7}"#.into(), 0, &["\"b\""]),
        (
            r#"{"__metadata__":{"axenic":7}}"#.into(),
            0,
            &["__metadata__"],
        ),
        (r#"{"__metadata__":{"axenic":"{}"}}"#.into(), 0, &["digest"]),
        (
            r#"{"__metadata__":{"axenic":"[["}}"#.into(),
            0,
            &["metadata"],
        ),
        (
            r#"{"__metadata__":{"axenic":"{\"sha256\":7}"}}"#.into(),
            0,
            &["digest"],
        ),
        ("[]".into(), 0, &["byte 8"]),
        (String::new(), 0, &["byte 8"]),
        ("{".into(), 0, &["header"]),
        ("{}{}".into(), 0, &["header"]),
        (format!("{{\"b\":{}", "[".repeat(100_000)), 0, &["\"b\""]),
        (
            format!("{{\"b\":{{\"x\":{}", "{\"x\":".repeat(100_000)),
            0,
            &["\"b\""],
        ),
    ]
}

#[test]
fn containers_that_lie_are_refused_by_name() {
    let _turn = turn();
    let place = Place::new();
    for (header, data, words) in lying_tensors().into_iter().chain(lying_headers()) {
        let bytes = file(&header, data);
        if words.is_empty() {
            place.load(&bytes).expect("a file that does not lie");
            continue;
        }
        let text = place.refused(&bytes);
        assert!(
            words.iter().all(|word| text.contains(word)),
            "{words:?}: {text}"
        );
    }
    let mut latin = file(r#"{"x":1}"#, 0);
    latin[10] = 0xFF;
    assert!(place.refused(&latin).contains("byte 10"));
    let mut index = file(&format!("{{{}}}", tensor("n", "I64", "[1]", 0, 8)), 8);
    *index.last_mut().expect("not empty") = 0x80;
    assert!(place.refused(&index).contains("\"n\""));
}

#[test]
fn what_is_no_file_is_refused_at_once() {
    let _turn = turn();
    let folder = tempfile::tempdir().expect("a folder");
    let text = |path: &std::path::Path| Weights::load(path).expect_err("refused").to_string();
    assert!(text(folder.path()).contains("not a file"));
    assert!(text(&folder.path().join("none")).contains("none"));
    #[cfg(unix)]
    {
        assert!(text(std::path::Path::new("/dev/zero")).contains("not a file"));
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.expect("mkfifo runs").success());
        assert!(text(&pipe).contains("not a file"));
    }
}

/// Sizes stated in a file cost nothing: what is asked for is a few times the file's own length.
#[test]
fn stated_sizes_allocate_nothing() {
    let _turn = turn();
    let place = Place::new();
    let most = |bytes: &[u8]| {
        let before = NOW.load(Ordering::SeqCst);
        MOST.store(before, Ordering::SeqCst);
        std::fs::write(&place.path, bytes).expect("written");
        let _ = Weights::load(&place.path);
        MOST.load(Ordering::SeqCst) - before
    };
    let huge = r#"{"a":{"dtype":"F32","shape":[2147483647],"data_offsets":[0,8589934588]}}"#;
    for bytes in [
        file(huge, 8),
        u64::MAX.to_le_bytes().to_vec(),
        (100u64 << 20).to_le_bytes().to_vec(),
        (10u64 << 20).to_le_bytes().to_vec(),
        file(
            r#"{"a":{"dtype":"F32","shape":[0,2147483647],"data_offsets":[0,0]}}"#,
            0,
        ),
    ] {
        assert!(
            most(&bytes) < 16_384,
            "{} bytes for {}",
            most(&bytes),
            bytes.len()
        );
    }
    // A header of nothing but numbers, and one of nothing but tensors.
    let numbers = format!(
        r#"{{"a":{{"dtype":"F32","shape":[{}0"#,
        "1,".repeat(500_000)
    );
    let tensors: Vec<String> = (0..20_000)
        .map(|i| format!(r#""{i}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#))
        .collect();
    for header in [numbers, format!("{{{}}}", tensors.join(","))] {
        let bytes = file(&header, 0);
        let ratio = most(&bytes) / bytes.len();
        assert!(ratio < 12, "{ratio} times the file's length");
    }
    // A sparse file of a terabyte has no header.
    let sparse = std::fs::File::create(&place.path).expect("a file");
    if sparse.set_len(1 << 40).is_ok() {
        assert!(Weights::load(&place.path).is_err());
    }
}
