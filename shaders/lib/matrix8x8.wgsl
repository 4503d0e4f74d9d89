// Cooperative matrices of 8 × 8.

/// Rows and columns of a matrix that a subgroup holds together.
const MATRIX_SIDE: u32 = 8u;
/// The most matrices of results that a subgroup holds side by side, and in all: those of a tile of 128 × 128.
const MATRICES_ACROSS: u32 = 4u;
const MATRICES: u32 = 32u;

alias MatrixA = coop_mat8x8<f16, A>;
alias MatrixB = coop_mat8x8<f16, B>;
alias MatrixC = coop_mat8x8<f32, C>;
