//! Initialisers, as the papers and the reference libraries define them.

use crate::graph::Init;

/// He et al. 2015, equation 10, over the outgoing connections (`kaiming_normal_(mode="fan_out")`): normal with standard
/// deviation √(2 / fan_out), for a convolution's weight [K, C/G, R, S] with fan_out = K·R·S.
pub fn he_normal(fan_out: usize) -> Init {
    Init::Normal {
        std: (2.0 / fan_out as f64).sqrt(),
    }
}

/// The weight of a linear layer: uniform in ±1/√inputs (`torch.nn.Linear`'s default).
pub fn linear_weight(inputs: usize) -> Init {
    Init::Uniform {
        bound: 1.0 / (inputs as f64).sqrt(),
    }
}

/// The bias of a linear layer: uniform in ±1/√inputs (`torch.nn.Linear`'s default).
pub fn linear_bias(inputs: usize) -> Init {
    linear_weight(inputs)
}

/// Glorot and Bengio 2010: uniform in ±√(6 / (inputs + outputs)) (`torch.nn.init.xavier_uniform_`).
pub fn xavier_uniform(inputs: usize, outputs: usize) -> Init {
    Init::Uniform {
        bound: (6.0 / (inputs + outputs) as f64).sqrt(),
    }
}

/// Normal, cut at ±2 whatever the standard deviation (`torch.nn.init.trunc_normal_(std=std)`, and timm's), as weights of
/// transformers start with the standard deviation 0.02.
pub fn truncated_normal(std: f64) -> Init {
    Init::TruncatedNormal { std, bound: 2.0 }
}
