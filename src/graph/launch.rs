//! A GPU dispatch as plain data: which shader, which values, which words. Rooms describe; only the gpu executor acts.

use super::matrices::{DEPTH, Matrices, Parts, Products};
use super::precision::{Precision, Storage};
use super::tiling::{Class, Tiling};

/// A WGSL compute shader with one entry point, `main`. What runs is the concatenation of the library texts it uses and
/// its own text, nothing else.
#[derive(Debug)]
pub struct Shader {
    /// The stem of its file: `relu` for `shaders/relu.wgsl`.
    pub name: &'static str,
    /// The text of the file.
    pub text: &'static str,
    /// The texts from `shaders/lib` that stand in front of it.
    pub uses: &'static [&'static str],
}

impl Shader {
    /// The whole text, as given to a device where `Store` is of this kind, and whose tiles are multiplied by `products`.
    pub fn source(&self, storage: Storage, products: Products) -> String {
        let enables = match (products, storage) {
            (Products::Matrices(..), _) => "enable f16;\nenable wgpu_cooperative_matrix;\n",
            (Products::Lanes, Storage::Half) => "enable f16;\n",
            (Products::Lanes, Storage::Full) => "",
        };
        let mut source = String::from(enables);
        source.push_str(products.side_text());
        for &text in self.uses {
            match (text, storage) {
                (library::TILE_LANES, _) => source.extend(products.texts().iter().copied()),
                (library::STORE, Storage::Half) => source.push_str(library::STORE_HALF),
                _ => source.push_str(text),
            }
        }
        source.push_str(self.text);
        source
    }
}

/// The library texts that shaders are concatenated with.
pub mod library {
    /// What the attention and its gradient share.
    pub const ATTENTION: &str = include_str!("../../shaders/lib/attention.wgsl");
    /// What a product does with a sum before it is written.
    pub const EPILOGUE: &str = include_str!("../../shaders/lib/epilogue.wgsl");
    /// e^x − 1 − x, accurate for small x.
    pub const EXP_REMAINDER: &str = include_str!("../../shaders/lib/exp_remainder.wgsl");
    /// The first of the largest values in a workgroup.
    pub const FIRST_MAX: &str = include_str!("../../shaders/lib/first_max.wgsl");
    /// The lengths of a convolution.
    pub const CONVOLUTION: &str = include_str!("../../shaders/lib/convolution.wgsl");
    /// How probable it is to miss a goal, for the focal loss.
    pub const FOCAL: &str = include_str!("../../shaders/lib/focal.wgsl");
    /// Linear indices over two-dimensional grids, and walking strided shapes.
    pub const INDEX: &str = include_str!("../../shaders/lib/index.wgsl");
    /// ln(1 + x), accurate for small x.
    pub const LOG_ONE_PLUS: &str = include_str!("../../shaders/lib/log_one_plus.wgsl");
    /// The standard normal distribution, accurate in both tails.
    pub const NORMAL: &str = include_str!("../../shaders/lib/normal.wgsl");
    /// Random words without state, those of `src/rng.rs`.
    pub const PHILOX: &str = include_str!("../../shaders/lib/philox.wgsl");
    /// Sums and maxima over a workgroup, in a fixed order.
    pub const REDUCE: &str = include_str!("../../shaders/lib/reduce.wgsl");
    /// The logistic function with its complement and their logarithms.
    pub const LOGISTIC: &str = include_str!("../../shaders/lib/logistic.wgsl");
    /// Cooperative matrices of 8 × 8.
    pub const MATRIX_OF_EIGHT: &str = include_str!("../../shaders/lib/matrix8x8.wgsl");
    /// Cooperative matrices of 16 × 16.
    pub const MATRIX_OF_SIXTEEN: &str = include_str!("../../shaders/lib/matrix16x16.wgsl");
    /// The product of two matrices by tiles.
    pub const TILE: &str = include_str!("../../shaders/lib/tile.wgsl");
    /// Operands of cooperative matrices, rounded.
    pub const TILE_HALVES: &str = include_str!("../../shaders/lib/tile_halves.wgsl");
    /// Tiles multiplied in single precision. Where a device's matrices multiply, others take its place.
    pub const TILE_LANES: &str = include_str!("../../shaders/lib/tile_lanes.wgsl");
    /// Tiles multiplied by cooperative matrices.
    pub const TILE_MATRIX: &str = include_str!("../../shaders/lib/tile_matrix.wgsl");
    /// Operands of cooperative matrices, each split in two.
    pub const TILE_SPLIT: &str = include_str!("../../shaders/lib/tile_split.wgsl");
    /// The rows of a tile of results, and its product with a further matrix.
    pub const TILE_CHAIN: &str = include_str!("../../shaders/lib/tile_chain.wgsl");
    /// Where the positions of a resized image lie in the original.
    pub const RESIZING: &str = include_str!("../../shaders/lib/resizing.wgsl");
    /// Rows along an axis, shared by as many invocations as their length is worth.
    pub const ROWS: &str = include_str!("../../shaders/lib/rows.wgsl");
    /// Two softmaxes, and by how much they differ.
    pub const SOFTMAX_PAIR: &str = include_str!("../../shaders/lib/softmax_pair.wgsl");
    /// The storage type of reals: f32.
    pub const STORE: &str = include_str!("../../shaders/lib/store_f32.wgsl");
    /// The storage type of reals in its place: f16.
    pub const STORE_HALF: &str = include_str!("../../shaders/lib/store_f16.wgsl");
    /// Windows over images: what each sees, and what sees each position.
    pub const WINDOWS: &str = include_str!("../../shaders/lib/windows.wgsl");
}

/// Shaders are told apart by their names.
impl PartialEq for Shader {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// What a shader's storage binding refers to: the node's n-th input, output, or scratch buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binding {
    /// Bound read-only.
    Input(usize),
    /// Bound read-write; holds anything at the start.
    Output(usize),
    /// Bound read-write; holds what an earlier launch of the same node left, or anything.
    Scratch(usize),
    /// Bound read-only: the n-th value that the step casts, as it is stored.
    Stored(usize),
    /// Bound read-write: its copy in the other storage.
    Cast(usize),
}

impl Binding {
    /// Whether it is bound read-only.
    pub fn is_read(self) -> bool {
        matches!(self, Binding::Input(_) | Binding::Stored(_))
    }
}

/// One dispatch.
///
/// The storage bindings are `@group(0) @binding(0..)` in the order of `bindings`; the uniform block follows as the next
/// binding and holds `words` (f32 by their bits), if there are any.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// What runs.
    pub shader: &'static Shader,
    /// What `Store` is there; the plan decides it.
    pub storage: Storage,
    /// The storage bindings in order.
    pub bindings: Vec<Binding>,
    /// The words of the uniform block.
    pub words: Vec<u32>,
    /// Values of the shader's `override` constants.
    pub constants: Vec<(&'static str, f64)>,
    /// Workgroups along x, y, z.
    pub workgroups: [u32; 3],
    /// What multiplies its tiles.
    pub products: Products,
    /// What the scales of its operands follow from, bound read-only at [`SCALES_BINDING`], where they are scaled.
    pub scales: Option<Binding>,
}

/// Where a product finds what the scales of its operands follow from, behind the other bindings of any launch: see
/// `shaders/lib/tile_split.wgsl`.
pub const SCALES_BINDING: u32 = 9;

impl Launch {
    /// A launch of `shader` with the bindings in order; words, constants and workgroups follow.
    pub fn new(shader: &'static Shader, bindings: impl Into<Vec<Binding>>) -> Self {
        Self {
            shader,
            storage: Storage::Full,
            bindings: bindings.into(),
            words: Vec::new(),
            constants: Vec::new(),
            workgroups: [1; 3],
            products: Products::Lanes,
            scales: None,
        }
    }

    /// The name of its shader, with how it stores reals and what multiplies where these are not f32 and lanes.
    pub fn name(&self) -> String {
        let name = self.shader.name;
        match (self.products, self.storage) {
            (Products::Lanes, Storage::Full) => name.to_string(),
            (Products::Lanes, Storage::Half) => format!("{name} (halves)"),
            (Products::Matrices(Matrices { side, .. }, parts), _) => {
                let parts = match parts {
                    Parts::Split => "split",
                    Parts::Halves => "halves",
                };
                format!("{name} ({parts}, {0} × {0})", side.length())
            }
        }
    }

    /// The whole text of its shader.
    pub fn source(&self) -> String {
        self.shader.source(self.storage, self.products)
    }

    /// Lets `products` multiply.
    pub fn by(mut self, products: Products) -> Self {
        self.products = products;
        match products {
            Products::Lanes => self,
            Products::Matrices(matrices, _) => {
                self.constant("TILE_SUBGROUP", f64::from(matrices.subgroup))
            }
        }
    }

    /// The same launch, where `Store` is of this kind.
    pub fn stored(self, storage: Storage) -> Self {
        Self { storage, ..self }
    }

    /// Appends a word.
    pub fn word(mut self, word: usize) -> Self {
        self.words.push(word as u32);
        self
    }

    /// Appends words.
    pub fn words(mut self, words: &[usize]) -> Self {
        self.words.extend(words.iter().map(|&word| word as u32));
        self
    }

    /// Appends the lengths or strides of a shape as eight words (two `vec4<u32>`, so the block must be aligned to 16
    /// bytes here): right-aligned to six axes, missing outer ones filled with `fill`, then two zeros.
    pub fn axes(mut self, lengths: &[usize], fill: usize) -> Self {
        debug_assert!(
            self.words.len().is_multiple_of(4),
            "vec4<u32> must start on 16 bytes"
        );
        let missing = crate::shape::MAX_RANK - lengths.len();
        self.words.extend(std::iter::repeat_n(fill as u32, missing));
        self.words(lengths).words(&[0, 0])
    }

    /// Appends a real number.
    pub fn float(mut self, value: f64) -> Self {
        self.words.push((value as f32).to_bits());
        self
    }

    /// Sets an `override` constant.
    pub fn constant(mut self, name: &'static str, value: f64) -> Self {
        self.constants.push((name, value));
        self
    }

    /// One invocation for each of `n` elements, in workgroups of `size`; see [`Launch::groups`].
    pub fn elements(self, n: usize, size: usize) -> Self {
        self.groups(n.div_ceil(size))
    }

    /// `n` workgroups, laid out over x and y where one axis does not hold them: `linear_workgroup` in
    /// `shaders/lib/index.wgsl` gives the number back, and invocations past the end must return.
    pub fn groups(mut self, n: usize) -> Self {
        let x = n.clamp(1, MAX_WORKGROUPS);
        self.workgroups = [x as u32, n.div_ceil(x).max(1) as u32, 1];
        self
    }

    /// Workgroups along x, y, z, where every axis is known to be short.
    pub fn grid(mut self, x: usize, y: usize, z: usize) -> Self {
        self.workgroups = [x as u32, y as u32, z as u32];
        self
    }
}

/// The most workgroups along one axis, on every device.
const MAX_WORKGROUPS: usize = 65_535;

/// What a device can do, as far as planning needs it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The largest storage binding, in bytes.
    pub binding_bytes: u64,
    /// Storage buffers that one shader can bind.
    pub storage_buffers: u32,
    /// Invocations in one workgroup.
    pub invocations: u32,
    /// Workgroup memory, in bytes.
    pub workgroup_bytes: u32,
    /// Whether shaders can read and write f16.
    pub halves: bool,
    /// What is stored as f16: a choice, no limit.
    pub precision: Precision,
    /// The cooperative matrices that it offers and that have proved right.
    pub matrices: Option<Matrices>,
    /// How products of matrices are cut: a choice that goes with the device, no limit of it.
    pub tiling: Tiling,
}

impl Limits {
    /// The same for launches that store what may be halves in this way: it says what their matrices are given.
    pub fn storing(self, storage: Storage) -> Self {
        let parts = self.tiling.parts.map(|_| Parts::of(storage));
        let tiling = Tiling {
            parts,
            ..self.tiling
        };
        Self { tiling, ..self }
    }

    /// What multiplies `batch` matrices of `size` whose elements are sums over `depth` terms.
    pub fn products(&self, batch: usize, [rows, columns]: [usize; 2], depth: usize) -> Products {
        let work = [rows, columns, depth]
            .into_iter()
            .fold(batch, usize::saturating_mul);
        match (self.matrices, self.tiling.parts) {
            (Some(matrices), Some(parts)) if depth >= DEPTH && work >= self.tiling.worthwhile => {
                Products::Matrices(matrices, parts)
            }
            _ => Products::Lanes,
        }
    }
}

impl Default for Limits {
    /// What every WebGPU device offers.
    fn default() -> Self {
        Self {
            binding_bytes: 128 << 20,
            storage_buffers: 8,
            invocations: 256,
            workgroup_bytes: 16 << 10,
            halves: false,
            precision: Precision::Full,
            matrices: None,
            tiling: Class::Integrated.tiling(),
        }
    }
}

/// What a plan is made for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// f64 on the host.
    Reference,
    /// f32 on the host, with this many workers.
    Cpu {
        /// The number of workers, each of which may need a panel of scratch memory.
        threads: usize,
    },
    /// f32 on a device with these limits, stored as their precision says.
    Gpu(Limits),
}

impl Target {
    /// Whether a plan for this target can run where plans for `other` do. Tilings run everywhere, halves where there are any.
    pub fn suits(&self, other: &Target) -> bool {
        match (self, other) {
            (Target::Gpu(own), Target::Gpu(limits)) => {
                let Limits {
                    tiling, precision, ..
                } = *limits;
                let chosen = Limits {
                    tiling,
                    precision,
                    ..*own
                };
                chosen == *limits && (limits.halves || own.precision == Precision::Full)
            }
            _ => self == other,
        }
    }

    /// The targets for the same device at which launches may differ: a group for each way to store reals and each way to
    /// multiply, in it one for each way to cut products. Within a group a product has the same bits.
    pub fn variants(&self) -> Vec<Vec<Target>> {
        let Target::Gpu(limits) = *self else {
            return vec![vec![*self]];
        };
        let mut groups = Vec::new();
        for (precision, storage) in [
            (Precision::Full, Storage::Full),
            (Precision::Half, Storage::Half),
        ] {
            if storage == Storage::Half && !limits.halves {
                continue;
            }
            let by_matrices = limits.matrices.map(|_| Some(Parts::of(storage)));
            for parts in [None].into_iter().chain(by_matrices) {
                let with = |tiling| Limits {
                    tiling,
                    precision,
                    ..limits
                };
                let tilings = limits.tiling.variants(parts);
                groups.push(tilings.map(with).map(Target::Gpu).collect());
            }
        }
        groups
    }

    /// The same for a node whose launches store what may be halves in this way.
    pub(crate) fn storing(self, storage: Storage) -> Self {
        match self {
            Target::Gpu(limits) => Target::Gpu(limits.storing(storage)),
            _ => self,
        }
    }
}
