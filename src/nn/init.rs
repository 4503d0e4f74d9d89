//! Initialisers, as the papers and the reference libraries define them.

use crate::graph::Init;

/// He et al. 2015, for layers before a relu: normal with standard deviation √(2 / fan)
/// (`torch.nn.init.kaiming_normal_`). The fan of a convolution's weight [K, C/G, R, S] is K·R·S outgoing connections
/// (equation 14, `mode="fan_out"`) or C/G·R·S incoming ones (equation 10, `fan_in`).
pub fn kaiming_normal(fan: usize) -> Init {
    Init::Normal {
        std: (2.0 / fan as f64).sqrt(),
    }
}

/// Uniform in ±√(6 / ((1 + a²)·fan_in)), for layers before a leaky relu of slope a (He et al. 2015, equation 15;
/// `torch.nn.init.kaiming_uniform_`). With a = 1 a linear layer keeps the variance: LeCun et al. 1998, *Efficient BackProp*,
/// equation 16.
pub fn kaiming_uniform(fan_in: usize, a: f64) -> Init {
    Init::Uniform {
        bound: (6.0 / ((1.0 + a * a) * fan_in as f64)).sqrt(),
    }
}

/// Uniform in ±1/√fan_in: how weights and biases of `torch.nn.Linear` and `torch.nn.Conv2d` start if nothing else is said
/// (of weights [`kaiming_uniform`] with a = √5).
pub fn default_uniform(fan_in: usize) -> Init {
    Init::Uniform {
        bound: 1.0 / (fan_in as f64).sqrt(),
    }
}

/// Glorot and Bengio 2010: uniform in ±√(6 / (fan_in + fan_out)) (`torch.nn.init.xavier_uniform_`).
pub fn xavier_uniform(fan_in: usize, fan_out: usize) -> Init {
    Init::Uniform {
        bound: (6.0 / (fan_in + fan_out) as f64).sqrt(),
    }
}

/// Normal, cut at ±2 whatever the standard deviation (`torch.nn.init.trunc_normal_(std=std)`, and timm's), as weights of
/// transformers start with the standard deviation 0.02.
pub fn truncated_normal(std: f64) -> Init {
    Init::TruncatedNormal { std, bound: 2.0 }
}
