// The first of the largest values over the 256 invocations of a workgroup: a tree that halves 256, 128, …, 1.

var<workgroup> first_max_values: array<f32, 256>;
var<workgroup> first_max_places: array<u32, 256>;

/// The smallest `place` among those of the largest `value`; all invocations of the workgroup must call it and all get the
/// result.
fn workgroup_first_max(value: f32, place: u32, lane: u32) -> u32 {
    workgroupBarrier();
    first_max_values[lane] = value;
    first_max_places[lane] = place;
    for (var width = 128u; width > 0u; width >>= 1u) {
        workgroupBarrier();
        if (lane < width) {
            let other = first_max_values[lane + width];
            let other_place = first_max_places[lane + width];
            let larger = other > first_max_values[lane];
            let earlier = other == first_max_values[lane] && other_place < first_max_places[lane];
            if (larger || earlier) {
                first_max_values[lane] = other;
                first_max_places[lane] = other_place;
            }
        }
    }
    workgroupBarrier();
    return first_max_places[0];
}
