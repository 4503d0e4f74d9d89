//! Speed of whole networks on the host, at four images of 224 × 224: images a second appear as elements a second.

#![expect(
    missing_docs,
    reason = "the function that criterion's macro makes has none"
)]

mod common;

use common::{Bench, Pass};
use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};

const BATCH: usize = 4;
const SIZE: usize = 224;

fn networks(criterion: &mut Criterion) {
    for name in ["resnet18", "ife", "densenet121", "vit_b_16"] {
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10);
        group.sampling_mode(SamplingMode::Flat);
        group.throughput(Throughput::Elements(BATCH as u64));
        for (pass, word) in [(Pass::Inference, "infer"), (Pass::TrainingStep, "train")] {
            let mut network = Bench::new(name, pass, BATCH, SIZE);
            group.bench_function(word, |bencher| bencher.iter(|| network.step()));
        }
        group.finish();
    }
}

criterion_group!(benches, networks);
criterion_main!(benches);
