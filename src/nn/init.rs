//! Initialisers, as the papers and the reference libraries define them.

use crate::graph::Init;

/// He et al. 2015, for layers before a relu: normal with standard deviation √(2 / connections)
/// (`torch.nn.init.kaiming_normal_`), for a convolution's weight [K, C/G, R, S] over the outgoing connections K·R·S
/// (equation 14, `mode="fan_out"`) or over the incoming ones C/G·R·S (equation 10, `fan_in`).
pub fn he_normal(connections: usize) -> Init {
    Init::Normal {
        std: (2.0 / connections as f64).sqrt(),
    }
}

/// Uniform with variance 1 / connections, so that a layer of so many incoming connections without activation keeps the
/// variance: LeCun et al. 1998, *Efficient BackProp*, equation 16 (`torch.nn.init.kaiming_uniform_(a=1)`).
pub fn lecun_uniform(connections: usize) -> Init {
    Init::Uniform {
        bound: (3.0 / connections as f64).sqrt(),
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
