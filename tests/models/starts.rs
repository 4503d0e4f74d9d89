//! Parameters start as the reference libraries let them.

use crate::{find, record};
use axenic::graph::{Init, Leaf};
use axenic::nn::{default_uniform, truncated_normal, xavier_uniform};
use std::collections::BTreeMap;

const ZERO: Init = Init::Constant(0.0);

fn normal(std: f64) -> Init {
    Init::Normal { std }
}

fn uniform(bound: f64) -> Init {
    Init::Uniform { bound }
}

/// Holds some starts of a network against what they are to be.
fn check(name: &str, expected: &[(&str, Init)]) {
    let model = find(name);
    let size = model.profile().preprocessing.size;
    let graph = record(model.as_ref(), [1, 3, size, size]).expect("it records");
    let start = |leaf: &Leaf| Some((leaf.name.clone(), *leaf.kind.init()?));
    let leaves = graph.leaves();
    let starts: BTreeMap<String, Init> = leaves.filter_map(|(_, leaf, _)| start(leaf)).collect();
    for (parameter, init) in expected {
        assert_eq!(starts.get(*parameter), Some(init), "{name}: {parameter}");
    }
}

#[test]
fn of_residual_networks() {
    check(
        "resnet18",
        &[
            ("layer2.0.conv1.weight", normal((2.0f64 / 1152.0).sqrt())),
            ("fc.weight", uniform(1.0 / 512f64.sqrt())),
            ("layer2.0.bn2.weight", Init::Constant(1.0)),
        ],
    );
}

#[test]
fn of_dense_networks() {
    check(
        "densenet121",
        &[
            ("features.conv0.weight", normal((2.0f64 / 147.0).sqrt())),
            (
                "features.transition1.conv.weight",
                normal((2.0f64 / 256.0).sqrt()),
            ),
            ("classifier.weight", uniform(1.0 / 32.0)),
            ("classifier.bias", ZERO),
        ],
    );
}

#[test]
fn of_convnext() {
    let cut = Init::TruncatedNormal {
        std: 0.02,
        bound: 2.0,
    };
    check(
        "convnext_tiny",
        &[
            ("features.1.0.block.0.weight", cut),
            ("features.1.0.block.0.bias", ZERO),
            ("features.1.0.block.3.weight", cut),
            ("features.1.0.layer_scale", Init::Constant(1e-6)),
            ("classifier.2.bias", ZERO),
        ],
    );
}

#[test]
fn of_inception() {
    check(
        "inception_resnet_v2",
        &[
            ("conv2d_2a.conv.weight", uniform(1.0 / 288f64.sqrt())),
            ("repeat.0.conv2d.bias", uniform(1.0 / 128f64.sqrt())),
        ],
    );
}

#[test]
fn of_pyramids() {
    check(
        "resnet18_fpn",
        &[
            (
                "fpn.inner_blocks.0.0.weight",
                uniform((3.0f64 / 64.0).sqrt()),
            ),
            ("fpn.layer_blocks.3.0.bias", ZERO),
        ],
    );
}

#[test]
fn of_torchvision_s_transformers() {
    let small = normal(1e-6);
    let block = |part: &str| format!("encoder.layers.encoder_layer_3.{part}");
    let patches = truncated_normal((1.0f64 / 768.0).sqrt());
    check(
        "vit_b_16",
        &[
            ("class_token", ZERO),
            ("conv_proj.weight", patches),
            ("conv_proj.bias", ZERO),
            ("encoder.pos_embedding", normal(0.02)),
            (
                &block("self_attention.in_proj_weight"),
                xavier_uniform(768, 3 * 768),
            ),
            (
                &block("self_attention.out_proj.weight"),
                default_uniform(768),
            ),
            (&block("mlp.0.weight"), xavier_uniform(768, 3072)),
            (&block("mlp.3.bias"), small),
            ("heads.head.weight", ZERO),
        ],
    );
}

#[test]
fn of_timm_s_transformers() {
    let cut = truncated_normal(0.02);
    check(
        "deit_tiny_patch16_224",
        &[
            ("cls_token", normal(1e-6)),
            ("patch_embed.proj.weight", default_uniform(768)),
            ("patch_embed.proj.bias", default_uniform(768)),
            ("pos_embed", cut),
            ("blocks.3.attn.qkv.weight", cut),
            ("blocks.3.mlp.fc1.weight", cut),
            ("blocks.3.mlp.fc2.bias", ZERO),
            ("head.weight", cut),
            ("head.bias", ZERO),
        ],
    );
    check(
        "dinov2_vits14",
        &[
            ("blocks.3.ls1.gamma", Init::Constant(1e-5)),
            ("pos_embed", cut),
        ],
    );
}
