//! Every shader is valid text, says what it is, and agrees with the launches of its room.

use axenic::array::{Element, Spec};
use axenic::graph::{
    Binding, Class, Launch, Limits, Matrices, Products, SCALES_BINDING, Shader, Side, Storage,
    Target, library,
};
use axenic::ops::{ROOMS, RoomCase};
use axenic::plan::{CAST_FULL, CAST_HALF};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, Scalar, ScalarKind, StorageAccess, TypeInner};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// What every device offers, and what a large one does, with every way to cut and to multiply products: rooms may launch
/// otherwise there.
fn devices() -> Vec<Limits> {
    let large = Limits {
        binding_bytes: 4 << 30,
        storage_buffers: 32,
        invocations: 1024,
        workgroup_bytes: 64 << 10,
        tiling: Class::Discrete.tiling(),
        ..Limits::default()
    };
    let least = Limits::default();
    let cut = |limits: Limits, parts| {
        let tilings = limits.tiling.variants(parts);
        tilings.map(move |tiling| Limits { tiling, ..limits })
    };
    let mut all: Vec<Limits> = cut(least, None).chain([large]).collect();
    for side in [Side::Eight, Side::Sixteen] {
        let with_matrices = Limits {
            // What matrices are asked for, see `exec/gpu/device.rs`.
            workgroup_bytes: 28 << 10,
            matrices: Some(Matrices { side, subgroup: 32 }),
            ..least
        };
        all.extend(cut(with_matrices, Class::Discrete.tiling().parts));
    }
    all
}

/// Everything that every room launches in any of its cases, in each storage that it allows, with the place for complaints.
fn launches() -> Vec<(String, &'static str, RoomCase, Limits, Vec<Launch>)> {
    let mut all = Vec::new();
    for room in ROOMS {
        for case in room.cases() {
            let place = format!("{} ({}): {}", room.name, case.op.attributes(), case.about);
            let storages = case.op.halves().storages().iter();
            for (&storage, limits) in
                storages.flat_map(|own| devices().into_iter().map(move |limits| (own, limits)))
            {
                let limits = limits.storing(storage);
                let launches = case.op.launches(&specs(&case), &limits);
                let launches = launches.unwrap_or_else(|e| panic!("{place}: {e}"));
                let launches = launches.into_iter().map(|launch| launch.stored(storage));
                all.push((
                    place.clone(),
                    room.name,
                    case.clone(),
                    limits,
                    launches.collect(),
                ));
            }
        }
    }
    all
}

fn specs(case: &RoomCase) -> Vec<Spec> {
    case.inputs.iter().map(|input| input.spec()).collect()
}

fn parse(launch: &Launch) -> (Module, ModuleInfo) {
    let (name, source) = (launch.name(), launch.source());
    let capabilities = match (launch.products, launch.storage) {
        (Products::Matrices(..), _) => {
            Capabilities::COOPERATIVE_MATRIX | Capabilities::SHADER_FLOAT16
        }
        (Products::Lanes, Storage::Half) => Capabilities::SHADER_FLOAT16,
        (Products::Lanes, Storage::Full) => Capabilities::empty(),
    };
    let module = naga::front::wgsl::parse_str(&source);
    let module = module.unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(&source)));
    let mut validator = Validator::new(ValidationFlags::all(), capabilities);
    let info = validator
        .validate(&module)
        .unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(&source)));
    (module, info)
}

/// All texts that are launched, by the names of their launches.
fn modules() -> BTreeMap<String, (Module, ModuleInfo)> {
    let mut modules = BTreeMap::new();
    for launch in launches().iter().flat_map(|(.., launches)| launches) {
        let module = modules.entry(launch.name());
        module.or_insert_with(|| parse(launch));
    }
    modules
}

/// The shaders that are launched, by name.
fn shaders() -> BTreeMap<&'static str, &'static Shader> {
    let mut shaders: BTreeMap<&'static str, &'static Shader> = BTreeMap::new();
    for launch in launches().into_iter().flat_map(|(.., launches)| launches) {
        let known = shaders.entry(launch.shader.name).or_insert(launch.shader);
        assert_eq!(
            known.source(launch.storage, launch.products),
            launch.source(),
            "two shaders are called {:?}",
            known.name
        );
    }
    shaders
}

/// The stems of the `.wgsl` files of a folder, with their texts.
fn files(folder: &str) -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(&folder).expect("the folder exists");
    let paths = entries.map(|entry| entry.expect("it can be listed").path());
    paths
        .filter(|path| path.extension().is_some_and(|ending| ending == "wgsl"))
        .map(|path| {
            let stem = path.file_stem().expect("it has a name").to_string_lossy();
            let text = fs::read_to_string(&path).expect("it is text");
            (stem.into_owned(), text)
        })
        .collect()
}

/// Shaders that several rooms launch.
const SHARED: [&str; 1] = ["largest"];

#[test]
fn every_file_is_launched_by_the_room_of_its_name() {
    let launched = shaders();
    for (stem, text) in files("shaders") {
        let room = stem.split('.').next().unwrap_or_default();
        assert!(
            ROOMS.iter().any(|own| own.name == room) || SHARED.contains(&room),
            "shaders/{stem}.wgsl belongs to no room"
        );
        let shader = launched
            .get(stem.as_str())
            .unwrap_or_else(|| panic!("no case of the room {room} launches shaders/{stem}.wgsl"));
        assert_eq!(shader.text, text, "{stem} is another text than its file's");
    }
    let files = files("shaders");
    for (place, room, _, _, launches) in launches() {
        for launch in launches {
            let name = launch.shader.name;
            assert!(
                files.contains_key(name),
                "{place}: there is no shaders/{name}.wgsl"
            );
            assert!(
                name.split('.').next() == Some(room) || SHARED.contains(&name),
                "{place}: launches the shader of another room, {name}"
            );
        }
    }
}

#[test]
fn every_room_has_a_shader_unless_it_only_renames() {
    for room in ROOMS {
        for case in room.cases() {
            let outputs = case.op.outputs(&specs(&case)).expect("the case fits");
            let writes = outputs.iter().any(|output| output.shape.elements() > 0);
            let launches = case.op.launches(&specs(&case), &Limits::default());
            let launches = launches.expect("it can be launched");
            let alias = case.op.alias_of_input().is_some();
            assert!(
                alias == launches.is_empty() || !writes,
                "{}: {} launches",
                room.name,
                launches.len()
            );
        }
    }
}

#[test]
fn every_header_says_what_the_shader_is() {
    let libraries = files("shaders/lib");
    let stem_of = |text: &str| {
        let stem = libraries.iter().find(|(_, own)| own.as_str() == text);
        stem.map(|(stem, _)| stem.clone())
            .expect("a library text is a file of shaders/lib")
    };
    let mut used = BTreeSet::new();
    for (name, shader) in shaders() {
        let room = name.split('.').next().unwrap_or_default();
        let uses: Vec<String> = shader.uses.iter().map(|text| stem_of(text)).collect();
        used.extend(uses.iter().cloned());
        let lines: Vec<&str> = shader.text.lines().collect();
        assert!(
            lines[0].starts_with("// ") && !lines[0].starts_with("// Room"),
            "{name}: the header begins with what the shader computes"
        );
        let field = |key: &str| {
            let key = format!("// {key}: ");
            let line = lines.iter().find_map(|line| line.strip_prefix(&key));
            line.unwrap_or_else(|| panic!("{name}: the header has no line {key:?}"))
        };
        let file = match SHARED.contains(&room) {
            true => "src/ops/support/products.rs".to_string(),
            false => format!("src/ops/{room}.rs"),
        };
        let folder = format!("src/ops/{room}/mod.rs");
        assert!(
            [&file, &folder].contains(&&field("Room").to_string()),
            "{name}: Room: {}",
            field("Room")
        );
        assert!(
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join(field("Room"))
                .exists()
        );
        assert_eq!(field("Uses"), uses.join(", "), "{name}: Uses");
        for key in [
            "Bindings",
            "Grid",
            "Constants",
            "Barriers",
            "Order of summation",
        ] {
            field(key);
        }
        assert!(lines.len() <= 150, "{name} has {} lines", lines.len());
    }
    let sources: BTreeSet<String> = launches()
        .iter()
        .flat_map(|(.., launches)| launches)
        .map(Launch::source)
        .collect();
    let unused: Vec<_> = libraries
        .iter()
        .filter(|(stem, text)| {
            let is_part = || sources.iter().any(|source| source.contains(text.as_str()));
            !used.contains(*stem) && !is_part()
        })
        .collect();
    assert!(unused.is_empty(), "nothing uses shaders/lib/{unused:?}");
}

#[test]
fn the_first_library_text_is_the_storage_type() {
    for (name, shader) in shaders() {
        if shader.text.contains("Store") {
            assert_eq!(shader.uses.first(), Some(&library::STORE), "{name}");
        }
    }
}

/// A storage or uniform binding as the text declares it.
#[derive(Debug, PartialEq)]
struct Declared {
    writes: bool,
    /// Bytes of a scalar.
    width: u8,
    /// `None` for the uniform block.
    element: Option<Element>,
    bytes: u32,
}

/// The bindings of group 0 in order, which must be 0, 1, 2, … without a gap; and what scales follow from, if it is declared.
fn bindings(name: &str, module: &Module) -> (Vec<Declared>, Option<Declared>) {
    let mut found = BTreeMap::new();
    for (_, variable) in module.global_variables.iter() {
        let Some(place) = variable.binding else {
            continue;
        };
        assert_eq!(place.group, 0, "{name}: all bindings are in group 0");
        let inner = &module.types[variable.ty].inner;
        let declared = match variable.space {
            AddressSpace::Storage { access } => Declared {
                writes: access.contains(StorageAccess::STORE),
                width: scalar(name, module, inner).width,
                element: Some(element(name, scalar(name, module, inner))),
                bytes: 0,
            },
            AddressSpace::Uniform => Declared {
                writes: false,
                width: 4,
                element: None,
                bytes: inner.size(module.to_ctx()),
            },
            space => panic!("{name}: a binding in {space:?}"),
        };
        assert!(
            found.insert(place.binding, declared).is_none(),
            "{name}: binding {} twice",
            place.binding
        );
    }
    let scales = found.remove(&SCALES_BINDING);
    let numbers: Vec<u32> = found.keys().copied().collect();
    let expected: Vec<u32> = (0..numbers.len() as u32).collect();
    assert_eq!(numbers, expected, "{name}: bindings have gaps");
    (found.into_values().collect(), scales)
}

/// The scalars of a storage binding: a run-time sized array of them, or of vectors of them.
fn scalar(name: &str, module: &Module, inner: &TypeInner) -> Scalar {
    let TypeInner::Array { base, size, .. } = inner else {
        panic!("{name}: a storage binding is no array");
    };
    assert_eq!(*size, naga::ArraySize::Dynamic, "{name}: a sized array");
    let scalar = module.types[*base].inner.scalar();
    scalar.unwrap_or_else(|| panic!("{name}: a storage binding of structures"))
}

fn element(name: &str, scalar: Scalar) -> Element {
    match scalar.kind {
        ScalarKind::Float => Element::Real,
        ScalarKind::Uint => Element::Index,
        kind => panic!("{name}: elements of {kind:?}"),
    }
}

/// The plan's own: from one storage to the other.
#[test]
fn casts_are_valid_and_bind_both_storages() {
    let files = files("shaders/plan");
    assert_eq!(files.len(), 2);
    for (shader, widths) in [(&CAST_HALF, [4, 2]), (&CAST_FULL, [2, 4])] {
        assert_eq!(shader.text, files[shader.name], "{}", shader.name);
        assert_eq!(shader.uses.first(), Some(&library::STORE));
        let (module, _) = parse(&Launch::new(shader, []).stored(Storage::Half));
        let (declared, _) = bindings(shader.name, &module);
        let storage = declared.iter().filter(|own| own.element.is_some());
        let found: Vec<(u8, bool)> = storage.map(|own| (own.width, own.writes)).collect();
        assert_eq!(found, [(widths[0], false), (widths[1], true)]);
    }
}

#[test]
fn launches_agree_with_their_shaders() {
    let modules = modules();
    for (place, _, case, limits, launches) in launches() {
        for launch in &launches {
            let (module, _) = &modules[&launch.name()];
            let place = format!("{place}: {}", launch.name());
            check_entry_point(&place, module, &limits);
            check_bindings(&place, module, &case, &limits, launch);
            check_constants(&place, module, launch);
            assert!(
                launch.workgroups.iter().all(|n| (1..=65_535).contains(n)),
                "{place}: {:?} workgroups",
                launch.workgroups
            );
        }
    }
}

/// The parts of a text that are not comments.
fn code(text: &str) -> String {
    let lines = text.lines();
    let code = lines.map(|line| line.split("//").next().unwrap_or_default());
    code.collect::<Vec<_>>().join("\n")
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
}

/// Where the workgroups do not fit along one axis, their number comes from two coordinates; and some case needs more
/// workgroups than a narrow grid is wide (see `tests/ops.rs`).
#[test]
fn workgroups_are_told_apart_by_their_linear_number_only() {
    let mut most: BTreeMap<&str, u32> = BTreeMap::new();
    for launch in launches().iter().flat_map(|(.., launches)| launches) {
        let own = most.entry(launch.shader.name).or_default();
        *own = launch.workgroups.iter().product::<u32>().max(*own);
    }
    for (name, shader) in shaders() {
        let code = code(shader.text);
        let Some((_, declared)) = code.split_once("@builtin(workgroup_id) ") else {
            assert_eq!(most[name], 1, "{name}: which workgroup?");
            continue;
        };
        assert_eq!(words(declared).next(), Some("group"), "{name}");
        let linear = "linear_workgroup(group, groups)";
        assert_eq!(code.matches(linear).count(), 1, "{name}");
        let rest = code.replace(linear, "");
        // An attribute and a field have these names, too.
        let rest = rest.replace("@group(", "").replace(".groups", "");
        let uses = words(&rest).filter(|word| ["group", "groups"].contains(word));
        assert_eq!(uses.count(), 2, "{name}: uses them beside {linear}");
        assert!(most[name] >= 3, "{name}: no case has three workgroups");
    }
}

fn check_entry_point(place: &str, module: &Module, limits: &Limits) {
    let [entry] = &module.entry_points[..] else {
        panic!("{place}: one entry point");
    };
    assert_eq!(entry.name, "main", "{place}");
    assert_eq!(entry.stage, naga::ShaderStage::Compute, "{place}");
    assert!(
        entry.workgroup_size.iter().product::<u32>() <= limits.invocations,
        "{place}: workgroups of {:?}",
        entry.workgroup_size
    );
}

fn check_bindings(place: &str, module: &Module, case: &RoomCase, limits: &Limits, launch: &Launch) {
    let inputs = specs(case);
    let outputs = case.op.outputs(&inputs).expect("the case fits");
    let scratch = case.op.scratch(&inputs, &Target::Gpu(*limits));
    let halves = case.op.halves();
    let expected = |binding: &Binding| {
        let (element, is_store) = match *binding {
            Binding::Input(i) => (inputs[i].element, halves.of_input(i)),
            Binding::Output(i) => (outputs[i].element, halves.of_output(i)),
            Binding::Scratch(i) => {
                assert!(i < scratch.len(), "{place}: scratch {i} is not planned");
                (Element::Real, false)
            }
            Binding::Stored(_) | Binding::Cast(_) => panic!("{place}: a room casts nothing"),
        };
        let is_half = launch.storage == Storage::Half && element == Element::Real;
        Declared {
            writes: !binding.is_read(),
            width: if is_half && is_store { 2 } else { 4 },
            element: Some(element),
            bytes: 0,
        }
    };
    let (mut declared, scales) = bindings(place, module);
    assert_eq!(scales.is_some(), launch.scales.is_some(), "{place}: scales");
    if let Some(Binding::Scratch(i)) = launch.scales {
        let words = Declared {
            writes: false,
            width: 4,
            element: Some(Element::Index),
            bytes: 0,
        };
        assert_eq!(scales, Some(words), "{place}: scales");
        assert!(i < scratch.len(), "{place}: scratch {i} is not planned");
    }
    let words = match declared.last() {
        Some(Declared { element: None, .. }) => declared.pop().map_or(0, |block| block.bytes),
        _ => 0,
    };
    let expected: Vec<Declared> = launch.bindings.iter().map(expected).collect();
    assert_eq!(declared, expected, "{place}: bindings");
    assert_eq!(
        words.next_multiple_of(16),
        (4 * launch.words.len() as u32).next_multiple_of(16),
        "{place}: the uniform block has {words} bytes, the launch {} words",
        launch.words.len()
    );
    let writes = |binding: &Binding| !matches!(binding, Binding::Input(_));
    assert!(
        launch.bindings.iter().is_sorted_by_key(writes),
        "{place}: inputs come first"
    );
    assert!(
        launch.bindings.len() <= limits.storage_buffers as usize,
        "{place}: {} bindings",
        launch.bindings.len()
    );
}

fn check_constants(place: &str, module: &Module, launch: &Launch) {
    for (_, constant) in module.overrides.iter() {
        let name = constant.name.as_deref().unwrap_or_default();
        let given = launch.constants.iter().any(|(own, _)| *own == name);
        assert!(
            given || constant.init.is_some(),
            "{place}: the constant {name} has no value"
        );
    }
    for (name, _) in &launch.constants {
        let known = module
            .overrides
            .iter()
            .any(|(_, constant)| constant.name.as_deref() == Some(name));
        assert!(known, "{place}: the shader has no constant {name}");
    }
}

#[test]
fn every_output_is_written() {
    for (place, _, case, _, launches) in launches() {
        let outputs = case.op.outputs(&specs(&case)).expect("the case fits");
        for (i, _) in outputs
            .iter()
            .enumerate()
            .filter(|(_, output)| output.shape.elements() > 0)
        {
            let mut bound = launches.iter().flat_map(|launch| &launch.bindings);
            assert!(
                case.op.alias_of_input().is_some()
                    || bound.any(|&binding| binding == Binding::Output(i)),
                "{place}: nothing writes output {i}"
            );
        }
    }
}

/// With the values of the constants filled in: they may be sizes.
#[cfg(feature = "gpu")]
#[test]
fn workgroup_memory_fits() {
    use naga::back::pipeline_constants::process_overrides;
    let modules = modules();
    let mut checked = BTreeSet::new();
    for (place, _, _, limits, launches) in launches() {
        for launch in launches {
            let name = &launch.name();
            if !checked.insert(format!("{name} {:?} {limits:?}", launch.constants)) {
                continue;
            }
            let constants = launch
                .constants
                .iter()
                .map(|&(name, value)| (name.to_string(), value))
                .collect();
            let (module, info) = &modules[name];
            let (module, info) = process_overrides(module, info, None, &constants)
                .unwrap_or_else(|e| panic!("{place}: {name}: {e}"));
            let entry = info.get_entry_point(0);
            let bytes: u32 = module
                .global_variables
                .iter()
                .filter(|(handle, variable)| {
                    variable.space == AddressSpace::WorkGroup && !entry[*handle].is_empty()
                })
                .map(|(_, variable)| module.types[variable.ty].inner.size(module.to_ctx()))
                .sum();
            assert!(
                bytes <= limits.workgroup_bytes,
                "{place}: {name} needs {bytes} bytes of workgroup memory"
            );
        }
    }
}
