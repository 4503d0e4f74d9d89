//! What goes before a product whose operands are split in halves: the largest magnitude of each, from which the product
//! derives their scales.

use crate::array::Spec;
use crate::graph::{Binding, Launch, Parts, Shader, library};

static LARGEST: Shader = Shader {
    name: "largest",
    text: include_str!("../../../shaders/largest.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// The shares of an operand whose largest magnitudes are kept, as `shaders/largest.wgsl` cuts it.
const SHARES: usize = 256;

/// The launches of a node's products, with the one that they need first, if they do. `operands` are the inputs that their
/// `tile_a` and `tile_b` read, `scratch` is the buffer that [`scales_scratch`] asked for.
pub(in crate::ops) fn scaled(
    mut launches: Vec<Launch>,
    inputs: &[Spec],
    operands: [usize; 2],
    scratch: usize,
) -> Vec<Launch> {
    let scales = Binding::Scratch(scratch);
    let mut are_scaled = false;
    for launch in launches.iter_mut().filter(|launch| is_split(launch)) {
        launch.scales = Some(scales);
        are_scaled = true;
    }
    if are_scaled {
        let [a, b] = operands;
        let largest = Launch::new(&LARGEST, [Binding::Input(a), Binding::Input(b), scales]);
        let elements = operands.map(|operand| inputs[operand].shape.elements());
        launches.insert(0, largest.words(&elements).groups(2 * SHARES));
    }
    launches
}

fn is_split(launch: &Launch) -> bool {
    launch.products.parts() == Some(Parts::Split)
}

/// The scratch buffer that these launches need for scales, if they do.
pub(in crate::ops) fn scales_scratch(launches: &[Launch]) -> Option<usize> {
    let are_scaled = launches.iter().any(|launch| launch.scales.is_some());
    are_scaled.then_some(2 * SHARES)
}
