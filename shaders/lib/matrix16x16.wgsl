// Cooperative matrices of 16 × 16.

/// Rows and columns of a matrix that a subgroup holds together.
const MATRIX_SIDE: u32 = 16u;
/// The most matrices of results that a subgroup holds side by side, and in all: those of a tile of 128 × 128.
const MATRICES_ACROSS: u32 = 2u;
const MATRICES: u32 = 8u;

alias MatrixA = coop_mat16x16<f16, A>;
alias MatrixB = coop_mat16x16<f16, B>;
alias MatrixC = coop_mat16x16<f32, C>;
