//! What a training step takes from the heap: short lists, the panels of a product, what a command encoder writes down; never
//! room for a value, and nothing that it keeps. Large pages of the system are not seen here: executors take them where plans are
//! prepared.

#[cfg(feature = "gpu")]
#[path = "common/mod.rs"]
mod common;

use axenic::Array;
use axenic::array::{Element, Spec};
use axenic::exec::{Cpu, Executor, Prepared};
use axenic::graph::{Graph, LeafKind};
use axenic::plan::Plan;
use axenic::systems::ife::config::Preset;
use axenic::systems::ife::graphs::training_step;
use axenic::train::Weights;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts what is allocated, what of it is there, and remembers the largest piece.
struct Counting;

static COUNT: AtomicUsize = AtomicUsize::new(0);
static LARGEST: AtomicUsize = AtomicUsize::new(0);
static LIVE: AtomicIsize = AtomicIsize::new(0);

#[expect(unsafe_code, reason = "an allocator cannot be written without")]
// SAFETY: everything is passed on to the system's allocator as it comes.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::SeqCst);
        LARGEST.fetch_max(layout.size(), Ordering::SeqCst);
        LIVE.fetch_add(layout.size() as isize, Ordering::SeqCst);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Ordering::SeqCst);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The tests of this file take turns, so that what is counted is one test's.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A training step of a small network that is ready to run.
struct Ready {
    executor: Box<dyn Executor>,
    plan: Prepared,
    inputs: Vec<(String, Array)>,
}

/// What runs allocate.
#[derive(Clone, Copy, Debug)]
struct Heap {
    /// Allocations of a run.
    count: usize,
    /// Bytes of the largest.
    largest: usize,
    /// Bytes that are there after many runs more than before.
    kept: isize,
}

/// No allocation of a step is larger. (The largest are the panels in which a product packs its operands, and on a device
/// the list of all commands.)
const LARGEST_ALLOWED: usize = 256 << 10;
/// Bytes that may come and go with the threads' queues.
const SLACK: isize = 4 << 10;

impl Ready {
    fn new(mut executor: Box<dyn Executor>, batch: usize, size: usize) -> Self {
        let mut config = Preset::Demo.config();
        (config.model.size, config.model.width) = (size, 4);
        let graph = Arc::new(training_step(&config, batch).expect("it records"));
        let plan = Plan::new(graph.clone(), executor.target()).expect("a plan");
        let plan = executor.prepare(Arc::new(plan)).expect("it prepares");
        let weights = Weights::initial(&graph, 1).expect("weights");
        weights
            .write_to(&graph, executor.as_mut())
            .expect("they fit");
        Self {
            executor,
            plan,
            inputs: inputs(&graph),
        }
    }

    fn run(&mut self) {
        let inputs = self.inputs.iter();
        let inputs: Vec<_> = inputs.map(|(name, array)| (&**name, array)).collect();
        let outputs = self.executor.run(self.plan, &inputs, None);
        assert!(outputs.expect("it runs").iter().all(Array::is_finite));
    }

    /// Of so many runs behind a few that warm up.
    fn heap(&mut self, runs: usize) -> Heap {
        (0..3).for_each(|_| self.run());
        let count = COUNT.load(Ordering::SeqCst);
        let live = LIVE.load(Ordering::SeqCst);
        LARGEST.store(0, Ordering::SeqCst);
        (0..runs).for_each(|_| self.run());
        Heap {
            count: (COUNT.load(Ordering::SeqCst) - count) / runs,
            largest: LARGEST.load(Ordering::SeqCst),
            kept: LIVE.load(Ordering::SeqCst) - live,
        }
    }
}

fn inputs(graph: &Graph) -> Vec<(String, Array)> {
    let inputs = graph.leaves();
    let inputs = inputs.filter(|(_, leaf, _)| matches!(leaf.kind, LeafKind::Input));
    let array = |spec: Spec| match spec.element {
        Element::Index => Array::zeros(spec),
        Element::Real => {
            let values = (0..spec.shape.elements()).map(|i| (i % 17) as f32 / 170.0);
            Array::new(spec.shape, values.collect::<Vec<_>>()).expect("as many as it has")
        }
    };
    inputs
        .map(|(_, leaf, spec)| (leaf.name.clone(), array(spec)))
        .collect()
}

#[test]
fn a_step_on_the_host_allocates_no_values() {
    let _turn = turn();
    for threads in [1, 2] {
        let cpu = Box::new(Cpu::new(threads).expect("threads"));
        let mut ready = Ready::new(cpu, 16, 96);
        let heap = ready.heap(20);
        assert!(heap.kept.abs() <= SLACK, "{heap:?}");
        assert!(heap.largest <= LARGEST_ALLOWED, "{heap:?}");
        let plan = ready.executor.plan(ready.plan);
        let large = plan.slots().iter().map(|slot| 4 * slot.length);
        assert!(large.max() > Some(2 * LARGEST_ALLOWED));
        let steps = plan.steps().len();
        // Lists of views, and what each piece of a product packs.
        assert!(heap.count <= 20 * steps, "{heap:?} in {steps} steps");
    }
}

/// A bind group alone takes more allocations than a dispatch may.
#[cfg(feature = "gpu")]
#[test]
fn a_step_on_a_device_makes_nothing_anew() {
    let _turn = turn();
    let Some(gpu) = common::gpu(axenic::exec::gpu::Checks::Off) else {
        return;
    };
    let mut ready = Ready::new(Box::new(gpu), 2, 32);
    assert_eq!(ready.executor.host_time(ready.plan), None);
    let heap = ready.heap(5);
    let host = ready.executor.host_time(ready.plan);
    let host = host.expect("it ran");
    assert!(host.elapsed > std::time::Duration::ZERO);
    let launches = ready.executor.plan(ready.plan).steps().iter();
    let launches: usize = launches.map(|step| step.launches.len()).sum();
    assert_eq!(host.dispatches, launches);
    assert!(heap.kept.abs() <= SLACK, "{heap:?}");
    assert!(heap.largest <= LARGEST_ALLOWED, "{heap:?}");
    assert!(
        heap.count <= 2 * launches,
        "{heap:?} in {launches} launches"
    );
}
