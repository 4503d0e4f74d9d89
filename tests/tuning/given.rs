//! What the suites of fine-tuning share: a tiny network, and files of noise.

use axenic::graph::{Init, Scope, Tensor};
use axenic::models::{Features, Model, Preprocessing, Profile};
use axenic::nn::{self, Conv2d, Mode};
use axenic::rng::Stream;
use axenic::shape::{KeepAxes, Shape};
use axenic::train::ImageFiles;
use axenic::{Error, Result, ops};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(super) const SIZE: usize = 8;
/// One residual block between a convolution and a linear head, with dropout in the block.
#[derive(Clone, Debug)]
pub(super) struct Tiny {
    pub(super) width: usize,
    pub(super) classes: Option<usize>,
}

impl Model for Tiny {
    fn name(&self) -> &str {
        "tiny"
    }

    fn profile(&self) -> Profile {
        Profile {
            classifier: "head".to_string(),
            first_convolution: "stem".to_string(),
            position_embedding: None,
            preprocessing: Preprocessing::half(SIZE),
        }
    }

    fn num_classes(&self) -> Option<usize> {
        self.classes
    }

    fn set_num_classes(&mut self, num_classes: Option<usize>) {
        self.classes = num_classes;
    }

    fn fit_to(&mut self, _shape_of: &dyn Fn(&str) -> Option<Shape>) {}

    fn features<'g>(
        &self,
        scope: &Scope<'g>,
        x: Tensor<'g>,
        mode: &Mode<'g>,
    ) -> Result<Features<'g>> {
        let stem = nn::conv2d(&scope.name("stem"), x, Conv2d::square(self.width, 3, 2))?;
        let block = scope.name("block");
        let _block = mode.enter_block(&block);
        let y = nn::conv2d(&block.name("conv"), stem, Conv2d::square(self.width, 3, 1))?;
        let norm = block.name("norm");
        let y = ops::relu(nn::batch_norm2d(&norm, y, mode.batch_norm(&norm))?)?;
        let y = mode.dropout(&block.name("drop"), y, 0.3, ops::Noise::Element)?;
        let y = block.tap(ops::add(stem, y)?);
        let embedding = ops::mean(y, &[2, 3], KeepAxes::No)?;
        Ok(Features {
            stages: vec![y],
            embedding,
        })
    }

    fn classify<'g>(
        &self,
        scope: &Scope<'g>,
        embedding: Tensor<'g>,
        mode: &Mode<'g>,
    ) -> Result<Tensor<'g>> {
        let Some(classes) = self.classes else {
            return Ok(embedding);
        };
        let head = scope.name("head");
        let scale = head.parameter("scale", [self.width], Init::Constant(1.0))?;
        let y = ops::mul(embedding, scale)?;
        let y = mode.dropout(&head.name("drop"), y, 0.2, ops::Noise::Element)?;
        nn::linear(&head, y, classes)
    }
}

pub(super) fn tiny() -> Tiny {
    Tiny {
        width: 4,
        classes: Some(3),
    }
}

/// Files of noise in memory.
#[derive(Clone)]
pub(super) struct Noise {
    pub(super) files: Vec<Vec<u8>>,
    pub(super) preparation: &'static str,
    pub(super) prepared: Arc<AtomicUsize>,
}

pub(super) fn noise(count: usize) -> Noise {
    let file = |item| {
        let mut stream = Stream::new(3, "noise", item as u64, 0);
        (0..3 * SIZE * SIZE)
            .map(|_| stream.below(256) as u8)
            .collect()
    };
    Noise {
        files: (0..count).map(file).collect(),
        preparation: "value / 255 - 1/2",
        prepared: Arc::default(),
    }
}

pub(super) fn pixels(bytes: &[u8]) -> Vec<f32> {
    bytes
        .iter()
        .map(|&byte| f32::from(byte) / 255.0 - 0.5)
        .collect()
}

impl ImageFiles for Noise {
    fn count(&self) -> usize {
        self.files.len()
    }

    fn bytes(&self, item: usize) -> Result<Vec<u8>> {
        match self.files[item].as_slice() {
            [] => Err(Error::input("noise.png is empty")),
            bytes => Ok(bytes.to_vec()),
        }
    }

    fn prepare(&self, bytes: &[u8]) -> Result<Vec<f32>> {
        self.prepared.fetch_add(1, Ordering::SeqCst);
        Ok(pixels(bytes))
    }

    fn preparation(&self) -> String {
        self.preparation.to_string()
    }
}
