//! A frozen backbone's features on disk: found again, never stale, mended where damaged, whole whatever fails.

use super::failing::Failing;
use super::given::{Noise, SIZE, Tiny, noise, tiny};
use axenic::array::Spec;
use axenic::exec::{Cpu, Executor, Prepared, Reference, Watch};
use axenic::graph::Target;
use axenic::plan::Plan;
use axenic::train::{
    Backbone, CachedFeatures, Files, Progress, Runner, Silent, Weights, cached_features, untrained,
};
use axenic::{Array, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const BATCH: usize = 4;

/// An executor that counts its runs, and adds something to all it computes.
struct Counting {
    inner: Box<dyn Executor>,
    runs: Arc<AtomicUsize>,
    more: f32,
}

impl Executor for Counting {
    fn description(&self) -> String {
        self.inner.description()
    }

    fn target(&self) -> Target {
        self.inner.target()
    }

    fn prepare(&mut self, plan: Arc<Plan>) -> Result<Prepared> {
        self.inner.prepare(plan)
    }

    fn plan(&self, prepared: Prepared) -> &Arc<Plan> {
        self.inner.plan(prepared)
    }

    fn write(&mut self, name: &str, value: Array) -> Result<()> {
        self.inner.write(name, value)
    }

    fn read(&mut self, name: &str) -> Result<Array> {
        self.inner.read(name)
    }

    fn run(
        &mut self,
        plan: Prepared,
        inputs: &[(&str, &Array)],
        watch: Option<&mut Watch>,
    ) -> Result<Vec<Array>> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        let outputs = self.inner.run(plan, inputs, watch)?;
        let other = |array: Array| {
            let values: Vec<f32> = array.to_f32().iter().map(|x| x + self.more).collect();
            Array::new(array.shape(), values)
        };
        outputs.into_iter().map(other).collect()
    }
}

/// Hears notes; asks for an end behind so many images.
struct Told {
    notes: Vec<String>,
    left: u64,
}

impl Told {
    fn until(left: u64) -> Self {
        let notes = Vec::new();
        Self { notes, left }
    }
}

impl Progress for Told {
    fn begin(&mut self, _what: &str, _unit: &'static str, _total: u64) {}
    fn advance(&mut self, units: u64) {
        self.left = self.left.saturating_sub(units);
    }
    fn end(&mut self) {}
    fn note(&mut self, text: &str) {
        self.notes.push(text.to_string());
    }
    fn should_stop(&self) -> bool {
        self.left == 0
    }
}

/// What a pass needs, all of it changeable.
struct Pass {
    model: Tiny,
    weights: Weights,
    images: Noise,
    tap: Option<&'static str>,
    batch: usize,
    size: usize,
    files: Files,
    more: f32,
}

impl Pass {
    fn new(count: usize) -> Self {
        let model = tiny();
        Self {
            weights: untrained(&model, 5).expect("weights"),
            model,
            images: noise(count),
            tap: None,
            batch: BATCH,
            size: SIZE,
            files: Files::default(),
            more: 0.0,
        }
    }

    /// The features, and how often the backbone ran.
    fn told(&self, folder: &Path, told: &mut dyn Progress) -> Result<(CachedFeatures, usize)> {
        let runs = Arc::new(AtomicUsize::new(0));
        let mut runner = Runner::new(Box::new(Counting {
            inner: Box::new(Cpu::new(2)?),
            runs: runs.clone(),
            more: self.more,
        }));
        let backbone = Backbone {
            model: &self.model,
            weights: &self.weights,
            size: self.size,
            tap: self.tap,
            batch: self.batch,
        };
        let images = Arc::new(self.images.clone());
        let found = cached_features(&self.files, folder, backbone, &mut runner, images, told)?;
        Ok((found, runs.load(Ordering::SeqCst)))
    }

    fn run(&self, folder: &Path) -> (CachedFeatures, usize) {
        self.told(folder, &mut Silent).expect("features")
    }
}

fn all(features: &mut CachedFeatures) -> Array {
    let items: Vec<usize> = (0..features.count()).collect();
    features.rows(&items).expect("readable")
}

/// Every file below a folder with its bytes.
fn content(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            found.extend(content(&path));
        } else {
            found.push((path.clone(), fs::read(&path).expect("readable")));
        }
    }
    found.sort();
    found
}

/// The same, by names alone.
fn relative(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let strip = |path: PathBuf| path.strip_prefix(folder).expect("inside").to_path_buf();
    let files = content(folder).into_iter();
    files.map(|(path, bytes)| (strip(path), bytes)).collect()
}

fn shards(folder: &Path) -> Vec<PathBuf> {
    let paths = content(folder).into_iter().map(|(path, _)| path);
    paths.filter(|path| path.extension().is_some()).collect()
}

#[test]
fn the_second_pass_runs_the_backbone_on_noise_alone() {
    let place = tempfile::tempdir().expect("a folder");
    let mut pass = Pass::new(11);
    // A file that is there twice goes through the backbone once.
    pass.images.files.push(pass.images.files[2].clone());
    let (mut first, runs) = pass.run(place.path());
    assert_eq!((first.count(), first.computed(), runs), (12, 11, 1 + 3));
    let (mut second, runs) = pass.run(place.path());
    assert_eq!((second.count(), second.computed(), runs), (12, 0, 1));
    assert_eq!(
        pass.images.prepared.load(Ordering::SeqCst),
        12,
        "nothing is decoded again"
    );
    let found = all(&mut first);
    assert_eq!(found.shape(), [12, 4].into());
    assert_eq!(found, all(&mut second));
    assert_eq!(
        second.rows(&[7]).expect("one").to_f32()[..],
        found.to_f32()[28..32]
    );
    assert_eq!(found.to_f32()[8..12], found.to_f32()[44..48]);
    assert!(second.rows(&[12]).is_err());

    // More images, in another order: only the new one is computed.
    pass.images.files.reverse();
    pass.images.files.push(noise(99).files[98].clone());
    let (mut more, runs) = pass.run(place.path());
    assert_eq!((more.count(), more.computed(), runs), (13, 1, 1 + 1));
    assert_eq!(
        more.rows(&[0, 11]).expect("two"),
        second.rows(&[2, 0]).expect("two")
    );
}

/// What a plan for whole batches gives for an image depends neither on its place nor on its companions.
#[test]
fn features_are_those_of_the_network() {
    let place = tempfile::tempdir().expect("a folder");
    let pass = Pass::new(9);
    let found = all(&mut pass.run(place.path()).0);
    let mut turned = Pass::new(9);
    turned.images.files.reverse();
    let other = tempfile::tempdir().expect("a folder");
    let mut turned = turned.run(other.path()).0;
    let back: Vec<usize> = (0..9).rev().collect();
    assert_eq!(turned.rows(&back).expect("readable"), found);

    let mut tapped = Pass::new(2);
    tapped.tap = Some("block");
    let maps = all(&mut tapped.run(place.path()).0);
    assert_eq!(maps.shape(), [2, 4, 4, 4].into());
    for (map, feature) in maps.to_f32().chunks(16).zip(found.to_f32().iter()) {
        assert!((map.iter().sum::<f32>() / 16.0 - feature).abs() < 1e-5);
    }
    tapped.tap = Some("blocks");
    let refused = tapped
        .told(place.path(), &mut Silent)
        .expect_err("no such part");
    assert!(
        refused
            .to_string()
            .contains("has the path \"blocks\"; near it are"),
        "{refused}"
    );
}

/// A cache entry: a folder, and the pass that fills it.
#[test]
fn any_change_of_the_recipe_is_another_entry() {
    let place = tempfile::tempdir().expect("a folder");
    let changes: [&dyn Fn(&mut Pass); 7] = [
        &|_| {},
        &|pass| pass.weights = untrained(&pass.model, 6).expect("weights"),
        &|pass| pass.images.preparation = "value / 255",
        &|pass| pass.tap = Some("block"),
        &|pass| pass.batch = 3,
        &|pass| pass.size = 4,
        &|pass| {
            pass.model.width = 5;
            pass.weights = untrained(&pass.model, 5).expect("weights");
        },
    ];
    for (i, change) in changes.iter().enumerate() {
        let mut pass = Pass::new(5);
        change(&mut pass);
        if pass.size == 4 {
            pass.images
                .files
                .iter_mut()
                .for_each(|file| file.truncate(48));
        }
        assert_eq!(pass.run(place.path()).0.computed(), 5, "change {i}");
        assert_eq!(pass.run(place.path()).0.computed(), 0, "change {i}");
        let entries = fs::read_dir(place.path()).expect("a folder").count();
        assert_eq!(entries, i + 1);
    }
    // One bit of one weight, of a running statistic, and of one file. The head's weights decide nothing.
    let mut pass = Pass::new(5);
    let change = |pass: &mut Pass, name: &str| {
        let array = &pass.weights.tensors[name];
        let mut values = array.to_f32().into_owned();
        values[0] = f32::from_bits(values[0].to_bits() ^ 1);
        let changed = Array::new(array.shape(), values).expect("an array");
        pass.weights.tensors.insert(name.to_string(), changed);
    };
    for (name, computed) in [
        ("stem.weight", 5),
        ("block.norm.running_mean", 5),
        ("head.weight", 0),
    ] {
        change(&mut pass, name);
        assert_eq!(pass.run(place.path()).0.computed(), computed, "{name}");
    }
    pass.images.files[3][0] ^= 1;
    assert_eq!(pass.run(place.path()).0.computed(), 1);

    // The same device by its name, but its kernels give other bits.
    pass.more = 1.0;
    assert_eq!(pass.run(place.path()).0.computed(), 5);
    pass.more = 0.0;
    assert_eq!(pass.run(place.path()).0.computed(), 0);

    // The other executor computes other bits.
    let mut reference = Runner::new(Box::new(Reference::new(1).expect("an executor")));
    let backbone = Backbone {
        model: &pass.model,
        weights: &pass.weights,
        size: SIZE,
        tap: None,
        batch: BATCH,
    };
    let images = Arc::new(pass.images.clone());
    let files = Files::default();
    let found = cached_features(
        &files,
        place.path(),
        backbone,
        &mut reference,
        images,
        &mut Silent,
    );
    let mut found = found.expect("features");
    assert_eq!(found.computed(), 5);
    assert_eq!(all(&mut found).spec(), Spec::real([5, 4]));
}

/// Shards are of 256 images: three of them, and what is left.
const MANY: usize = 600;

#[test]
fn an_interrupted_pass_goes_on() {
    let pass = Pass::new(MANY);
    let whole = tempfile::tempdir().expect("a folder");
    pass.run(whole.path());
    assert_eq!(shards(whole.path()).len(), 3);
    let place = tempfile::tempdir().expect("a folder");
    let stopped = pass.told(place.path(), &mut Told::until(300));
    let stopped = stopped.expect_err("it stops");
    assert!(stopped.is_stopped(), "{stopped}");
    let (_, runs) = pass.run(place.path());
    assert_eq!(runs, 1 + (MANY - 256).div_ceil(BATCH));
    assert_eq!(relative(place.path()), relative(whole.path()));
}

#[test]
fn damaged_shards_are_computed_again() {
    let pass = Pass::new(MANY);
    let place = tempfile::tempdir().expect("a folder");
    pass.run(place.path());
    let whole = relative(place.path());
    let shards = shards(place.path());
    let sound = fs::read(&shards[1]).expect("readable");
    let flipped = |at: usize| {
        let mut bytes = sound.clone();
        bytes[at] ^= 4;
        bytes
    };
    let mut other = Pass::new(MANY);
    other.batch = 8;
    let elsewhere = tempfile::tempdir().expect("a folder");
    other.run(elsewhere.path());
    let foreign = fs::read(&self::shards(elsewhere.path())[1]).expect("readable");
    let cases = [
        Vec::new(),
        sound[..sound.len() - 1].to_vec(),
        flipped(sound.len() - 5),
        flipped(sound.len() / 2),
        flipped(40),
        foreign,
    ];
    for (i, damaged) in cases.iter().enumerate() {
        fs::write(&shards[1], damaged).expect("written");
        let mut told = Told::until(u64::MAX);
        let (found, runs) = pass.told(place.path(), &mut told).expect("it is mended");
        assert_eq!((found.computed(), runs), (256, 1 + 64), "case {i}");
        let [note] = told.notes.as_slice() else {
            panic!("case {i}: {:?}", told.notes);
        };
        assert!(
            note.contains("features-00000001") && note.contains("computed again"),
            "{note}"
        );
        assert_eq!(relative(place.path()), whole, "case {i}");
    }
    // Damaged, or replaced by another sound one, behind the pass: an error, never other features.
    let (mut found, _) = pass.run(place.path());
    fs::write(&shards[1], &cases[2]).expect("written");
    let refused = found.rows(&[300]).expect_err("it is damaged").to_string();
    assert!(refused.contains("features-00000001"), "{refused}");
    fs::copy(&shards[0], &shards[1]).expect("copied");
    let refused = found.rows(&[300]).expect_err("it is another").to_string();
    assert!(refused.contains("was replaced"), "{refused}");
    found.rows(&[0, 599]).expect("the others are sound");
}

/// Every single operation of the file layer fails once, and once with all that come after it.
#[test]
fn a_failure_of_any_file_operation_costs_nothing_but_time() {
    let pass = Pass::new(300);
    let well = tempfile::tempdir().expect("a folder");
    let never = Failing::new(usize::MAX, false);
    let on = |disk: Failing| Pass {
        files: Files::on(disk),
        ..Pass::new(300)
    };
    on(never.clone()).run(&well.path().join("cache"));
    let whole = relative(well.path());
    let operations = never.done.load(Ordering::SeqCst);
    assert!(operations > 10, "only {operations} operations");
    for at in 0..operations {
        for for_good in [false, true] {
            let case = format!("operation {at} of {operations}, for good: {for_good}");
            let place = tempfile::tempdir().expect("a folder");
            let folder = place.path().join("cache");
            let failed = on(Failing::new(at, for_good)).told(&folder, &mut Silent);
            let failed = failed.map(|_| ()).expect_err(&case).to_string();
            assert!(failed.contains("the disk fails"), "{case}: {failed}");
            pass.run(&folder);
            assert_eq!(relative(place.path()), whole, "{case}");
        }
    }
}

#[test]
fn what_cannot_be_computed_is_refused() {
    let place = tempfile::tempdir().expect("a folder");
    let refused = |pass: &Pass| {
        let refused = pass.told(place.path(), &mut Silent).map(|_| ());
        refused.expect_err("it is refused").to_string()
    };
    let mut pass = Pass::new(3);
    pass.images.files[1].clear();
    assert!(refused(&pass).contains("noise.png is empty"));
    let mut pass = Pass::new(3);
    pass.images.files[1].truncate(100);
    assert!(refused(&pass).contains("100 numbers instead of 3·8·8"));
    let mut pass = Pass::new(3);
    pass.batch = 0;
    assert!(refused(&pass).contains("at least one image"));
    pass.batch = 1;
    pass.weights.tensors.remove("stem.weight");
    assert!(refused(&pass).contains("stem.weight is missing"));
    let mut pass = Pass::new(3);
    // The largest numbers of single precision, which overflow in the sums of the convolution behind it.
    let shape = pass.weights.tensors["stem.weight"].shape();
    let huge: Vec<f32> = (0..shape.elements())
        .map(|i| f32::MAX * [1.0, -1.0][i % 2])
        .collect();
    let huge = Array::new(shape, huge).expect("an array");
    pass.weights.tensors.insert("stem.weight".to_string(), huge);
    assert!(refused(&pass).contains("are not finite"));
    assert!(shards(place.path()).is_empty());

    // While one process fills the cache, another may not.
    let pass = Pass::new(3);
    pass.run(place.path());
    let lock = shards(place.path())[0].with_file_name("lock");
    let held = Files::default().lock(&lock).expect("lockable");
    let other = refused(&pass);
    assert!(
        other.contains("another process fills the feature cache"),
        "{other}"
    );
    drop(held);
    pass.run(place.path());
}
