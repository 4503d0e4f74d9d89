//! The tiles in which a device computes products of matrices, and which of them suits what.

use super::launch::Launch;
use super::matrices::Parts;

/// The side of a block of results. A workgroup of 256 invocations computes one or more, and each invocation 4 × 4 results
/// of every block: see `shaders/lib/tile.wgsl`.
const BLOCK: usize = 64;

/// A tile of results, in blocks of 64 × 64.
///
/// An invocation holds 16 · high · wide sums in registers, a workgroup 4 · (high + wide) KiB in its memory. Whatever the
/// tile, each result is the same sum in the same order: the bits do not depend on it. (They do on what multiplies: lanes or
/// matrices.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Blocks down, 1 or 2.
    pub high: usize,
    /// Blocks across, 1 or 2.
    pub wide: usize,
}

impl Tile {
    /// All there are.
    pub const ALL: &'static [Tile] = &[
        Tile::new(2, 2),
        Tile::new(1, 2),
        Tile::new(2, 1),
        Tile::new(1, 1),
    ];

    const SMALL: &[Tile] = &[Tile::new(1, 1)];

    const fn new(high: usize, wide: usize) -> Self {
        Self { high, wide }
    }

    /// How many cover a matrix.
    pub fn count(self, [rows, columns]: [usize; 2]) -> usize {
        rows.div_ceil(BLOCK * self.high) * columns.div_ceil(BLOCK * self.wide)
    }

    /// Whether at most an eighth more blocks are computed than cover the matrix.
    fn fits(self, size: [usize; 2]) -> bool {
        let computed = self.high * self.wide * self.count(size);
        8 * computed <= 9 * Tile::new(1, 1).count(size)
    }

    /// Lets a launch compute `batch` matrices of `size` in such tiles.
    pub fn cover(self, launch: Launch, batch: usize, size: [usize; 2]) -> Launch {
        launch
            .constant("TILE_HIGH", self.high as f64)
            .constant("TILE_WIDE", self.wide as f64)
            .groups(batch * self.count(size))
    }
}

/// What kind of device computes, as far as tiles go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A GPU with memory of its own and registers in plenty.
    Discrete,
    /// A GPU beside the host's cores, or one that does not say what it is and offers little.
    Integrated,
    /// The host's cores behind a GPU's interface.
    Software,
}

impl Class {
    /// The tiles of a class of devices. This is the whole table: nothing is measured or tuned at run time.
    pub const fn tiling(self) -> Tiling {
        match self {
            Class::Discrete => Tiling {
                tiles: Tile::ALL,
                busy: 256,
                parts: Some(Parts::Split),
                worthwhile: 1 << 26,
            },
            Class::Integrated => Tiling {
                tiles: Tile::SMALL,
                busy: 64,
                parts: None,
                worthwhile: 0,
            },
            Class::Software => Tiling {
                tiles: Tile::SMALL,
                busy: 32,
                parts: None,
                worthwhile: 0,
            },
        }
    }
}

/// How a device's products are cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tiling {
    /// The tiles that suit the device, best first; the last one serves where no other does.
    pub tiles: &'static [Tile],
    /// The workgroups that keep it busy.
    pub busy: usize,
    /// What operands are given to the device's matrices as; `None`: they do not multiply.
    pub parts: Option<Parts>,
    /// The multiplications from which on matrices are worth it. (Operands to be split are read once more, by a launch of
    /// their own, which takes a large GPU some 5 µs: as long as its lanes take for this many.)
    pub worthwhile: usize,
}

impl Tiling {
    /// The tile for `batch` matrices of `size`: the best that wastes little at the edges and keeps the device busy.
    pub fn tile(&self, batch: usize, size: [usize; 2]) -> Tile {
        let suits = |tile: &&Tile| tile.fits(size) && batch * tile.count(size) >= self.busy;
        let last = self.tiles.last().copied().unwrap_or(Tile::new(1, 1));
        self.tiles.iter().find(suits).copied().unwrap_or(last)
    }

    /// One tiling for every tile there is, which it uses for all products, multiplied in this way.
    pub fn variants(&self, parts: Option<Parts>) -> impl Iterator<Item = Tiling> + use<> {
        let busy = self.busy;
        Tile::ALL.chunks(1).map(move |tiles| Tiling {
            tiles,
            busy,
            parts,
            worthwhile: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tile_is_large_where_it_wastes_little_and_leaves_work_for_all() {
        let tile = |batch, size| {
            let Tile { high, wide } = Class::Discrete.tiling().tile(batch, size);
            [high, wide]
        };
        assert_eq!(tile(1, [4096, 4096]), [2, 2]);
        assert_eq!(tile(1, [64, 200_000]), [1, 2], "no second block of rows");
        assert_eq!(tile(1, [200_000, 64]), [2, 1]);
        assert_eq!(tile(1, [192, 200_000]), [1, 2], "a third would be waste");
        assert_eq!(tile(1, [1024, 1024]), [1, 1], "64 large tiles are too few");
        assert_eq!(tile(4, [1024, 1024]), [2, 2]);
        assert_eq!(tile(0, [0, 0]), [1, 1]);
    }
}
