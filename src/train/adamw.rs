//! AdamW, recorded behind a loss: the step is part of the graph.

use super::groups::Groups;
use super::loss_scale::LossScaling;
use super::optimizer::{Gradients, OPTIMIZER, record_gradients};
use crate::error::Result;
use crate::graph::{Init, Recorder, Tensor};
use crate::ops;

/// Settings of the update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// The update of one parameter.
    pub update: ops::AdamW,
    /// The norm at which the whole gradient is clipped.
    pub clip_norm: f64,
    /// Whether the loss is scaled.
    pub loss_scaling: LossScaling,
}

/// Records the gradient of `loss` with respect to every parameter declared so far that its group does not freeze, clips
/// it, and assigns each and its moments (states named `optimizer.exp_avg.<parameter>` and `optimizer.exp_avg_sq.<parameter>`) their new values,
/// and the state `optimizer.step` the number of steps. Gives the gradient's norm before clipping, squared; 0
/// if the step is skipped, see [`LossScaling`].
///
/// Reference: Loshchilov and Hutter 2019; `torch.optim.AdamW`.
///
/// # Errors
/// A parameter gets no gradient; the error names it. Declare it as travelling, freeze it, or leave it out. A group's
/// pattern covers no parameter.
pub fn record_adamw<'g>(
    r: &'g Recorder,
    loss: Tensor<'g>,
    learning_rate: Tensor<'g>,
    settings: AdamW,
    groups: &Groups,
) -> Result<Tensor<'g>> {
    let Gradients {
        each,
        square_norm,
        scale,
        steps: taken,
    } = record_gradients(
        r,
        loss,
        learning_rate,
        groups,
        settings.clip_norm,
        settings.loss_scaling,
    )?;
    let scope = r.scope().name("optimizer");
    let _inside = scope.enter();
    let step_name = format!("{OPTIMIZER}step");
    let steps = r.scope().state(&step_name, [], Init::Constant(0.0))?;
    let step = ops::add(steps, taken)?;
    r.assign(&step_name, step)?;
    for update in each {
        let (name, parameter) = (update.name, update.parameter);
        let schedule = [update.learning_rate, scale, step].map(|scalar| ops::reshape(scalar, [1]));
        let schedule = ops::concat(&schedule.into_iter().collect::<Result<Vec<_>>>()?, 0)?;
        let names = ["exp_avg", "exp_avg_sq"].map(|moment| format!("{OPTIMIZER}{moment}.{name}"));
        let moment = |name| {
            r.scope()
                .state(name, parameter.shape(), Init::Constant(0.0))
        };
        let moments = [moment(&names[0])?, moment(&names[1])?];
        let adamw = ops::AdamW {
            weight_decay: settings.update.weight_decay * update.decay,
            ..settings.update
        };
        let [new, mean, squares] =
            ops::adamw(parameter, update.gradient, moments, schedule, adamw)?;
        r.assign(&name, new)?;
        r.assign(&names[0], mean)?;
        r.assign(&names[1], squares)?;
    }
    Ok(square_norm)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Array;
    use crate::array::Spec;
    use crate::exec::{Executor, Reference};
    use crate::graph::Graph;
    use crate::plan::Plan;
    use std::sync::Arc;

    /// Two steps on a loss w · x, whose gradient is x: known in closed form, since the moments of equal gradients are
    /// exact after correction.
    #[test]
    fn states_and_steps_are_carried_on() {
        let settings = AdamW {
            update: ops::AdamW {
                eps: 0.0,
                ..Default::default()
            },
            clip_norm: 1e9,
            loss_scaling: LossScaling::Off,
        };
        let graph = Graph::record(|r| {
            let w = r.scope().parameter("w", [1], Init::Constant(0.0))?;
            let x = r.input("x", Spec::real([1]))?;
            let rate = r.input("rate", Spec::real([]))?;
            let loss = ops::reshape(ops::mul(w, x)?, [])?;
            r.output(
                "norm",
                record_adamw(r, loss, rate, settings, &Groups::default())?,
            )
        });
        let graph = Arc::new(graph.expect("it records"));
        let mut host = Reference::new(1).expect("an executor");
        let plan = Plan::new(graph, host.target()).expect("a plan");
        let plan = host.prepare(Arc::new(plan)).expect("it prepares");
        let states = ["step", "exp_avg.w", "exp_avg_sq.w"].map(|name| format!("optimizer.{name}"));
        host.write("w", [2.0].into()).expect("w");
        host.write(&states[0], Array::scalar(0.0))
            .expect("the step");
        for state in &states[1..] {
            host.write(state, [0.0].into()).expect("a moment");
        }
        let (x, rate) = ([3.0].into(), Array::scalar(0.1));
        for step in 1..=2 {
            let norm = host.run(plan, &[("x", &x), ("rate", &rate)], None);
            assert_eq!(norm.expect("it runs")[0].to_f64()[0], 9.0);
            let count = host.read(&states[0]).expect("the step");
            assert_eq!(count.to_f64()[0], f64::from(step));
        }
        // Each step takes away a thousandth of the parameter, and 0.1 in the direction of the gradient.
        let w = host.read("w").expect("w").to_f64()[0];
        let expected = (2.0 * 0.999 - 0.1) * 0.999 - 0.1;
        assert!((w - expected).abs() < 1e-12, "{w} instead of {expected}");
    }
}
