//! Worker threads that prepare batches ahead of the step that consumes them.
//!
//! The workers are plain threads of the standard library, not scoped ones, so that a loader is an ordinary iterator that a
//! training loop can hold, leave and drop anywhere. They take positions of the epoch one by one, in order, and never run
//! further ahead than a set number of batches. What a worker computes may depend on the item, the epoch and the position
//! only, so the batches have the same bits for any number of threads.

use crate::error::{Error, Result};
use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// How a loader works; no setting changes what it gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Worker threads; 0 means one for each core.
    pub threads: usize,
    /// Batches that may be in the making or waiting besides the one that is asked for. Memory is bounded by
    /// (`ahead` + 1) batches, and those that the consumer holds.
    pub ahead: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            threads: 0,
            ahead: 2,
        }
    }
}

/// Yields the batches of one epoch, in order.
///
/// A batch with an item that could not be loaded is an error: that of its first such item; the batches after it still
/// come. Dropping the loader stops its workers, each after the item it is at.
#[derive(Debug)]
pub struct Loader<T> {
    shared: Arc<Shared<T>>,
    workers: Vec<JoinHandle<()>>,
    batch: usize,
}

#[derive(Debug)]
struct Shared<T> {
    /// Items by position.
    items: Vec<usize>,
    /// Position behind the last item of each batch.
    ends: Vec<usize>,
    ahead: usize,
    state: Mutex<State<T>>,
    /// Told when an item is ready.
    ready: Condvar,
    /// Told when workers may go on, or must stop.
    room: Condvar,
}

#[derive(Debug)]
struct State<T> {
    /// The next position that no worker has taken.
    next: usize,
    /// Workers take positions below this one.
    limit: usize,
    /// Position of the first of `results`.
    base: usize,
    /// What is loaded, by position from `base`.
    results: VecDeque<Option<Result<T>>>,
    stop: bool,
}

impl<T: Send + 'static> Loader<T> {
    /// Starts to load `batches` of items with `load(item, epoch, position)`, where `position` counts the items of the
    /// epoch from 0.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn new(
        batches: &[Vec<usize>],
        epoch: u64,
        options: Options,
        load: impl Fn(usize, u64, usize) -> Result<T> + Send + Sync + 'static,
    ) -> Result<Self> {
        let mut end = 0;
        let ends: Vec<usize> = batches
            .iter()
            .map(|batch| {
                end += batch.len();
                end
            })
            .collect();
        let shared = Arc::new(Shared {
            items: batches.concat(),
            state: Mutex::new(State {
                next: 0,
                limit: limit(&ends, options.ahead),
                base: 0,
                results: VecDeque::new(),
                stop: false,
            }),
            ends,
            ahead: options.ahead,
            ready: Condvar::new(),
            room: Condvar::new(),
        });
        let threads = match options.threads {
            0 => thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        // Built first, so that a thread that fails to start stops those before it.
        let mut loader = Self {
            shared,
            workers: Vec::new(),
            batch: 0,
        };
        let load = Arc::new(load);
        for _ in 0..threads.min(end) {
            let (shared, load) = (Arc::clone(&loader.shared), Arc::clone(&load));
            let worker = thread::Builder::new()
                .name("loader".to_string())
                .spawn(move || shared.work(epoch, &*load))
                .map_err(|e| {
                    Error::device(format!("cannot start {threads} loader threads: {e}"))
                })?;
            loader.workers.push(worker);
        }
        Ok(loader)
    }
}

/// Where the workers must stop while batch `batch` is being waited for.
fn limit(ends: &[usize], batch: usize) -> usize {
    ends.get(batch).or(ends.last()).copied().unwrap_or(0)
}

impl<T> Shared<T> {
    /// No code of others runs while the lock is held, so that it cannot be poisoned in a bad state.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker's life.
    fn work(&self, epoch: u64, load: &(impl Fn(usize, u64, usize) -> Result<T> + ?Sized)) {
        while let Some(position) = self.take() {
            let item = self.items[position];
            let result = catch_unwind(AssertUnwindSafe(|| load(item, epoch, position)))
                .unwrap_or_else(|cause| Err(panicked(item, &*cause)));
            let mut state = self.lock();
            let slot = position - state.base;
            if state.results.len() <= slot {
                state.results.resize_with(slot + 1, || None);
            }
            state.results[slot] = Some(result);
            drop(state);
            self.ready.notify_one();
        }
    }

    /// The next position to load, when there is room for it; none at the end.
    fn take(&self) -> Option<usize> {
        let mut state = self.lock();
        loop {
            if state.stop || state.next == self.items.len() {
                return None;
            }
            if state.next < state.limit {
                state.next += 1;
                return Some(state.next - 1);
            }
            state = self
                .room
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn panicked(item: usize, cause: &(dyn Any + Send)) -> Error {
    let text = cause.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| cause.downcast_ref::<&str>().copied());
    Error::input(format!(
        "loading item {item} failed in a way that is a defect of the program: {}",
        text.unwrap_or("no message")
    ))
}

impl<T> Iterator for Loader<T> {
    type Item = Result<Vec<T>>;

    fn next(&mut self) -> Option<Self::Item> {
        let shared = &*self.shared;
        let end = *shared.ends.get(self.batch)?;
        let mut state = shared.lock();
        let length = end - state.base;
        while state.results.len() < length || state.results.iter().take(length).any(Option::is_none)
        {
            state = shared
                .ready
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let results: Vec<Option<Result<T>>> = state.results.drain(..length).collect();
        state.base = end;
        self.batch += 1;
        state.limit = limit(&shared.ends, self.batch.saturating_add(shared.ahead));
        drop(state);
        shared.room.notify_all();
        Some(results.into_iter().flatten().collect())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.shared.ends.len() - self.batch;
        (left, Some(left))
    }
}

impl<T> Drop for Loader<T> {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.room.notify_all();
        for worker in self.workers.drain(..) {
            // A worker catches what its loads throw; there is nothing left to report.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    fn with(threads: usize, ahead: usize) -> Options {
        Options { threads, ahead }
    }

    /// Batches of 0..count.
    fn batches(count: usize, size: usize) -> Vec<Vec<usize>> {
        let items: Vec<usize> = (0..count).collect();
        items.chunks(size).map(<[usize]>::to_vec).collect()
    }

    #[test]
    fn any_number_of_threads_gives_the_same_batches() {
        let run = |threads, ahead| {
            let load = |item: usize, epoch, position: usize| {
                let mut stream = Stream::new(1, "load", epoch, position as u64);
                // Unequal work, so that items finish out of order.
                thread::sleep(Duration::from_micros(stream.below(300) as u64));
                Ok((item, stream.word()))
            };
            let loader =
                Loader::new(&batches(50, 7), 3, with(threads, ahead), load).expect("starts");
            assert_eq!(loader.size_hint(), (8, Some(8)));
            loader
                .map(|batch| batch.expect("loads"))
                .collect::<Vec<_>>()
        };
        let one = run(1, 0);
        assert_eq!(one.len(), 8);
        assert!(one.iter().flatten().map(|(item, _)| *item).eq(0..50));
        for (threads, ahead) in [(1, 3), (2, 0), (3, 1), (8, 2), (100, 100), (0, 2)] {
            assert_eq!(run(threads, ahead), one);
        }
    }

    #[test]
    fn errors_come_with_their_batch() {
        let load = |item: usize, _, _| match item {
            4 | 5 => Err(Error::input(format!("item {item} is bad"))),
            9 => panic!("item 9 breaks"),
            _ => Ok(item),
        };
        let loader = Loader::new(&batches(12, 3), 0, with(3, 2), load).expect("starts");
        let found: Vec<_> = loader.map(|b| b.map_err(|e| e.to_string())).collect();
        assert_eq!(found[0], Ok(vec![0, 1, 2]));
        assert_eq!(found[1], Err("item 4 is bad".to_string()));
        assert_eq!(found[2], Ok(vec![6, 7, 8]));
        let text = found[3].as_ref().expect_err("panicked");
        assert!(
            text.contains("item 9") && text.ends_with("item 9 breaks"),
            "{text}"
        );
        assert_eq!(found.len(), 4);
    }

    #[test]
    fn workers_stay_within_their_bound() {
        let started = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&started);
        let load = move |item: usize, _, _| {
            count.fetch_add(1, Ordering::SeqCst);
            Ok(item)
        };
        let mut loader = Loader::new(&batches(100, 5), 0, with(4, 2), load).expect("starts");
        // However slow the machine is, they get there; none goes further in the time that they are then given.
        let settles_at = |expected| {
            for _ in 0..60_000 {
                if started.load(Ordering::SeqCst) >= expected {
                    break;
                }
                thread::sleep(Duration::from_millis(1));
            }
            thread::sleep(Duration::from_millis(20));
            assert_eq!(started.load(Ordering::SeqCst), expected);
        };
        settles_at(15); // one asked for and two ahead
        loader.next().expect("a batch").expect("loads");
        settles_at(20);
    }

    #[test]
    fn dropping_stops_the_workers() {
        let started = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&started);
        let load = move |item: usize, _, _| {
            count.fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(1));
            Ok(item)
        };
        let mut loader =
            Loader::new(&batches(100_000, 10), 0, with(4, 9_000), load).expect("starts");
        loader.next().expect("a batch").expect("loads");
        drop(loader);
        // The workers are gone, and with them the closure; nearly all that they were allowed to load is not loaded.
        assert_eq!(Arc::strong_count(&started), 1);
        let loads = started.load(Ordering::SeqCst);
        assert!(loads < 45_000, "{loads} loads");
    }

    #[test]
    fn empty_epochs_end() {
        let load = |item: usize, _, _| Ok(item);
        let none: &[Vec<usize>] = &[];
        assert!(
            Loader::new(none, 0, with(2, 2), load)
                .expect("starts")
                .next()
                .is_none()
        );
        let gaps = [vec![], vec![7], vec![]];
        let found: Vec<_> = Loader::new(&gaps, 0, with(2, 0), load)
            .expect("starts")
            .map(|b| b.expect("loads"))
            .collect();
        assert_eq!(found, gaps);
    }
}
