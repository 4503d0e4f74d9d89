//! Telling someone how far a long work has come. The library never prints; the command line shows what it is told.

/// Hears of a work's progress.
pub trait Progress {
    /// A part of the work begins: what it is, in units of what, how many.
    fn begin(&mut self, what: &str, unit: &'static str, total: u64);
    /// So many units more are done.
    fn advance(&mut self, units: u64);
    /// The part is over.
    fn end(&mut self);
    /// Something worth a line.
    fn note(&mut self, text: &str);
    /// Whether the work should stop at the next good moment.
    fn should_stop(&self) -> bool {
        false
    }
}
