// table_grad[v, d] = Σ of output_grad[…, d] where indices[…] = v.
// Room: src/ops/gather_grad.rs
// Uses: store_f32, index
// Bindings: 0 indices, 1 output_grad, 2 table_grad, 3 the lengths
// Grid: one workgroup of 256 for 256 numbers of a row, these first, then the rows
// Constants: none
// Barriers: three for each 256 indices; the grid's surplus workgroups leave as a whole before
// Order of summation: the indices in order

struct Params {
    count: u32,
    width: u32,
    rows: u32,
}

@group(0) @binding(0) var<storage, read> indices: array<u32>;
@group(0) @binding(1) var<storage, read> output_grad: array<Store>;
@group(0) @binding(2) var<storage, read_write> table_grad: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

/// One bit for each of 256 indices: whether it is the row.
var<workgroup> found: array<atomic<u32>, 8>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let parts = (params.width + 255u) / 256u;
    let number = linear_workgroup(group, groups);
    if (number >= params.rows * parts) {
        return;
    }
    let row = number / parts;
    let column = number % parts * 256u + lane;
    var sum = 0.0;
    for (var first = 0u; first < params.count; first += 256u) {
        if (lane < 8u) {
            atomicStore(&found[lane], 0u);
        }
        workgroupBarrier();
        if (first + lane < params.count) {
            if (indices[first + lane] == row) {
                atomicOr(&found[lane / 32u], 1u << (lane % 32u));
            }
        }
        workgroupBarrier();
        for (var word = 0u; word < 8u; word++) {
            var bits = atomicLoad(&found[word]);
            while (bits != 0u) {
                let place = first + 32u * word + firstTrailingBit(bits);
                if (column < params.width) {
                    sum += f32(output_grad[place * params.width + column]);
                }
                bits &= bits - 1u;
            }
        }
        workgroupBarrier();
    }
    if (column < params.width) {
        table_grad[row * params.width + column] = sum;
    }
}
