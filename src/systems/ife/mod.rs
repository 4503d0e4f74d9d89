//! Immunofixation electrophoresis: nine classes of monoclonal protein, read from the image of one gel.

pub mod synth;
