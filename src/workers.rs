//! The host's cores, as the operations see them: a fixed number of workers among which pieces of work are shared out.
//!
//! Results must never depend on the number of workers. So the pieces are cut by shape alone, each piece is computed by
//! one worker in a fixed order, and no two pieces write the same element. Nothing else in the engine starts a thread;
//! [`both`] does it for two pieces of work that have nothing in common.

use crate::error::{Error, Result};
use pulp::WithSimd;
use rayon::prelude::*;
use std::panic::resume_unwind;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread;

/// The widest vectors that this machine has.
static ARCH: LazyLock<pulp::Arch> = LazyLock::new(pulp::Arch::new);

/// Runs `work` compiled for the widest vectors that this machine has. That holds for what the compiler inlines into it:
/// small closures, and functions marked `#[inline(always)]`. The bits are the same on every machine: nothing is
/// reordered or fused.
#[inline(always)]
pub fn vectorised<T>(work: impl FnOnce() -> T) -> T {
    ARCH.dispatch(work)
}

/// Runs `work` with the widest vectors that this machine has, which it is generic over.
pub(crate) fn simd<W: WithSimd>(work: W) -> W::Output {
    ARCH.dispatch(work)
}

/// Runs `beside` on a thread of its own while `here` runs on this one, and gives what both give.
///
/// # Errors
/// The system refuses the thread.
pub fn both<A, B: Send>(
    here: impl FnOnce() -> A,
    beside: impl FnOnce() -> B + Send,
) -> Result<(A, B)> {
    thread::scope(|scope| {
        let beside = thread::Builder::new()
            .spawn_scoped(scope, beside)
            .map_err(|e| Error::device(format!("cannot start a thread: {e}")))?;
        let here = here();
        match beside.join() {
            Ok(beside) => Ok((here, beside)),
            Err(cause) => resume_unwind(cause),
        }
    })
}

/// A pool of worker threads.
pub struct Workers {
    pool: rayon::ThreadPool,
}

impl Workers {
    /// A pool of `threads` workers; 0 means one for each core.
    ///
    /// # Errors
    /// The system refuses the threads.
    pub fn new(threads: usize) -> Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .map_err(|e| Error::device(format!("cannot start {threads} worker threads: {e}")))?;
        Ok(Self { pool })
    }

    /// How many workers there are.
    pub fn count(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Runs `work` on one of the workers, so that everything it shares out starts without changing threads.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.pool.install(work)
    }

    /// Runs `work` on every item, each on whichever worker is free. Items may carry mutable pieces of an output. `work` is
    /// [`vectorised`] if its closure is marked `#[inline(always)]`, here and in the methods below.
    pub fn each<T: Send>(&self, items: impl Iterator<Item = T>, work: impl Fn(T) + Send + Sync) {
        let items: Vec<Mutex<Option<T>>> = items.map(|item| Mutex::new(Some(item))).collect();
        self.share(items.len(), &|i| {
            // Uncontended: every item is taken once.
            if let Some(item) = items[i]
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take()
            {
                vectorised(
                    #[inline(always)]
                    || work(item),
                );
            }
        });
    }

    /// Runs `work` on every index below `count`. Not generic: the machinery behind it is compiled once, not for every
    /// operation and number type.
    fn share(&self, count: usize, work: &(dyn Fn(usize) + Send + Sync)) {
        match count {
            0 => {}
            1 => work(0),
            _ => self
                .pool
                .install(|| (0..count).into_par_iter().with_max_len(1).for_each(work)),
        }
    }

    /// Like [`each`](Self::each), and lends every piece of work a panel of scratch memory: `scratch` is cut into one
    /// panel per worker. The content of a panel at the start of a piece is arbitrary.
    pub fn each_with_panel<T: Send>(
        &self,
        scratch: &mut [f32],
        items: impl Iterator<Item = T>,
        work: impl Fn(T, &mut [f32]) + Send + Sync,
    ) {
        let length = scratch.len() / self.count();
        let panels: Vec<Mutex<&mut [f32]>> = scratch
            .chunks_exact_mut(length.max(1))
            .map(Mutex::new)
            .collect();
        self.each(
            items,
            #[inline(always)]
            |item| {
                let own = rayon::current_thread_index().unwrap_or(0);
                match panels.get(own) {
                    // Uncontended: a panel belongs to one worker.
                    Some(panel) => work(
                        item,
                        &mut panel.lock().unwrap_or_else(PoisonError::into_inner),
                    ),
                    None => work(item, &mut []),
                }
            },
        );
    }

    /// Cuts `output` into chunks of `length` elements (the last may be shorter) and computes each on some worker.
    pub fn each_chunk<T: Send>(
        &self,
        output: &mut [T],
        length: usize,
        work: impl Fn(usize, &mut [T]) + Send + Sync,
    ) {
        self.each(
            output.chunks_mut(length.max(1)).enumerate(),
            #[inline(always)]
            |(i, chunk)| work(i, chunk),
        );
    }
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Workers({})", self.count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_computed_once() {
        for threads in [1, 2, 3] {
            let workers = Workers::new(threads).expect("threads");
            let mut output = vec![0u32; 1000];
            workers.each_chunk(&mut output, 7, |i, chunk| {
                chunk.iter_mut().for_each(|x| *x += i as u32 + 1)
            });
            assert!(
                output
                    .iter()
                    .enumerate()
                    .all(|(k, &x)| x as usize == k / 7 + 1)
            );
            let mut scratch = vec![0.0; 5 * threads];
            workers.each_with_panel(&mut scratch, output.chunks_mut(10), |chunk, panel| {
                assert_eq!(panel.len(), 5);
                panel.fill(1.0);
                chunk.fill(panel.iter().sum::<f32>() as u32);
            });
            assert_eq!(output, vec![5; 1000]);
        }
    }
}
