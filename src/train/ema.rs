//! Moving averages of the parameters, recorded behind a step.

use super::optimizer::OPTIMIZER;
use crate::error::Result;
use crate::graph::{Init, Recorder};
use crate::ops;

/// Records that after this step's update the moving average of every parameter that it changes (a state named
/// `optimizer.ema.<parameter>`) takes in the parameter's new value; the first takes it as it is. A frozen parameter is its
/// own average. The state `optimizer.n_averaged` counts the steps.
///
/// Reference: `torch.optim.swa_utils.AveragedModel` with `get_ema_multi_avg_fn(decay)`.
///
/// # Errors
/// The averages have been recorded before, or the decay is not between 0 and 1.
pub fn record_ema(r: &Recorder, decay: f64) -> Result<()> {
    let scope = r.scope().name("optimizer");
    let _inside = scope.enter();
    let count_name = format!("{OPTIMIZER}n_averaged");
    let count = r.scope().state(&count_name, [], Init::Constant(0.0))?;
    r.assign(&count_name, ops::add(count, ops::fill(r, [], 1.0)?)?)?;
    for (name, parameter) in r.parameters() {
        let newest = r.newest(&name)?;
        if newest.value() == parameter.value() {
            continue;
        }
        let own = format!("{OPTIMIZER}ema.{name}");
        let average = r
            .scope()
            .state(&own, parameter.shape(), Init::Constant(0.0))?;
        r.assign(&own, ops::ema(average, newest, count, decay)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Array;
    use crate::exec::{Executor, Reference};
    use crate::graph::Graph;
    use crate::plan::Plan;
    use std::sync::Arc;

    /// A parameter that doubles at every step, and an average that keeps a quarter of itself.
    #[test]
    fn averages_follow_what_is_assigned() {
        let graph = Graph::record(|r| {
            let w = r.scope().parameter("w", [1], Init::Constant(0.0))?;
            r.assign("w", ops::add(w, w)?)?;
            record_ema(r, 0.25)
        });
        let mut host = Reference::new(1).expect("an executor");
        let plan = Plan::new(Arc::new(graph.expect("it records")), host.target());
        let plan = host
            .prepare(Arc::new(plan.expect("a plan")))
            .expect("it prepares");
        host.write("w", [1.0].into()).expect("w");
        host.write("optimizer.ema.w", [f64::NAN].into())
            .expect("the average");
        host.write("optimizer.n_averaged", Array::scalar(0.0))
            .expect("the count");
        for expected in [2.0, 3.5, 6.875] {
            host.run(plan, &[], None).expect("it runs");
            let average = host.read("optimizer.ema.w").expect("the average");
            assert_eq!(average.to_f64()[0], expected);
        }
    }
}
