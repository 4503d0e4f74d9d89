# From `cargo metadata` to a bill of materials, CycloneDX 1.5: every package that is built into the program, its licence,
# where it came from, and what it depends on. Build and test helpers that are not built in are left out.

def purl: "pkg:cargo/\(.name)@\(.version)";

(.packages | map({key: .id, value: .}) | from_entries) as $packages
| (.resolve.nodes | map({key: .id, value: [.deps[] | select(any(.dep_kinds[]; .kind == null)) | .pkg]}) | from_entries) as $needs
| .resolve.root as $root
| def reach($seen; $todo):
    if $todo == [] then $seen
    else ($todo - $seen | unique) as $new | reach($seen + $new; [$new[] | $needs[.][]] | unique - $seen - $new) end;
reach([]; [$root]) as $used
| {
    bomFormat: "CycloneDX",
    specVersion: "1.5",
    version: 1,
    metadata: {
      component: ($packages[$root] | {type: "application", "bom-ref": purl, name, version, purl: purl})
    },
    components: [
      $used[] | select(. != $root) | $packages[.]
      | {type: "library", "bom-ref": purl, name, version, purl: purl}
        + (if .license then {licenses: [{expression: (.license | gsub(" */ *"; " OR "))}]} else {} end)
        + (if .repository then {externalReferences: [{type: "vcs", url: .repository}]} else {} end)
    ] | sort_by(."bom-ref"),
    dependencies: [
      $used[] | {ref: ($packages[.] | purl), dependsOn: ([$needs[.][] | $packages[.] | purl] | unique)}
    ] | sort_by(.ref)
  }
