//! No invocation touches workgroup memory that another one may be touching: wherever that could be, a barrier stands between.

use axenic::ops::shaders;
use naga::{
    AddressSpace, Barrier, Block, Expression, Function, GlobalVariable, Handle, Module, Statement,
};
use std::collections::BTreeSet;

#[test]
fn barriers_stand_between_accesses_of_workgroup_memory() {
    for (name, source) in shaders() {
        let hazards = hazards(&source);
        assert!(hazards.is_empty(), "{name}: {hazards:?}");
    }
}

#[test]
fn no_barrier_can_go() {
    let barrier = "workgroupBarrier();";
    for (name, source) in shaders() {
        for (at, _) in source.match_indices(barrier) {
            let without = format!("{}{}", &source[..at], &source[at + barrier.len()..]);
            let line = source[..at].lines().count();
            let hazards = hazards(&without);
            assert!(!hazards.is_empty(), "{name}: line {line} does nothing");
        }
    }
}

/// An access since the last barrier: of what, at which index, and how.
type Access = (Handle<GlobalVariable>, Index, Kind);
/// All accesses, on any way through the text, since the last barrier.
type State = BTreeSet<Access>;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Kind {
    Load,
    Store,
    /// An atomic operation other than a load or a store: several may meet, in whatever order.
    Update,
}

/// An index, as text, so far as it stays the same throughout an invocation: different texts may or may not be the same
/// element, in one invocation or in two.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Index {
    Fixed(String),
    Varying,
}

/// Accesses of workgroup memory that no barrier keeps apart, if the functions of the text that have barriers run in any
/// order, any number of times. What has none is a part of those that call it.
fn hazards(source: &str) -> BTreeSet<String> {
    let module = naga::front::wgsl::parse_str(source).expect("it is valid text");
    let functions = module.functions.iter().map(|(_, function)| function);
    let functions = functions.filter(|function| has_barrier(&module, &function.body));
    let entry_points = module.entry_points.iter().map(|entry| &entry.function);
    let functions: Vec<&Function> = functions.chain(entry_points).collect();
    let mut hazards = BTreeSet::new();
    let mut state = State::new();
    loop {
        let before = state.clone();
        for function in &functions {
            let mut walk = Walk::new(&module, function);
            let end = walk.block(&function.body, Some(before.clone()));
            state.extend(end.into_iter().chain(walk.returns).flatten());
            hazards.append(&mut walk.hazards);
        }
        if state == before {
            return hazards;
        }
    }
}

fn has_barrier(module: &Module, block: &Block) -> bool {
    block.iter().any(|statement| match statement {
        Statement::ControlBarrier(kind) => kind.contains(Barrier::WORK_GROUP),
        Statement::Call { function, .. } => has_barrier(module, &module.functions[*function].body),
        Statement::Block(block) => has_barrier(module, block),
        Statement::If { accept, reject, .. } => {
            has_barrier(module, accept) || has_barrier(module, reject)
        }
        Statement::Loop {
            body, continuing, ..
        } => has_barrier(module, body) || has_barrier(module, continuing),
        _ => false,
    })
}

/// A walk through a function, along every way at once.
struct Walk<'a> {
    module: &'a Module,
    function: &'a Function,
    hazards: BTreeSet<String>,
    returns: Vec<State>,
    /// What holds where the loops around are left, and where they go on: the innermost last.
    breaks: Vec<Vec<State>>,
    continues: Vec<Vec<State>>,
}

/// What holds where ways meet; `None` where no way leads.
fn join(states: impl IntoIterator<Item = State>) -> Option<State> {
    states.into_iter().reduce(|a, b| &a | &b)
}

impl<'a> Walk<'a> {
    fn new(module: &'a Module, function: &'a Function) -> Self {
        Self {
            module,
            function,
            hazards: BTreeSet::new(),
            returns: Vec::new(),
            breaks: Vec::new(),
            continues: Vec::new(),
        }
    }

    fn block(&mut self, block: &Block, start: Option<State>) -> Option<State> {
        block
            .iter()
            .fold(start, |state, statement| self.statement(statement, state?))
    }

    fn statement(&mut self, statement: &Statement, mut state: State) -> Option<State> {
        match statement {
            Statement::Emit(range) => {
                for expression in range.clone() {
                    match self.function.expressions[expression] {
                        Expression::Load { pointer } => {
                            self.access(&mut state, pointer, Kind::Load)
                        }
                        Expression::CooperativeLoad { data, .. } => {
                            self.access_matrix(&mut state, data.pointer, Kind::Load)
                        }
                        _ => {}
                    }
                }
            }
            Statement::Store { pointer, .. } => self.access(&mut state, *pointer, Kind::Store),
            Statement::CooperativeStore { data, .. } => {
                self.access_matrix(&mut state, data.pointer, Kind::Store)
            }
            Statement::Atomic { pointer, .. } => self.access(&mut state, *pointer, Kind::Update),
            Statement::Call { function, .. } => {
                let mut inside = Walk::new(self.module, &self.module.functions[*function]);
                let end = inside.block(&inside.function.body, Some(state));
                self.hazards.append(&mut inside.hazards);
                return join(end.into_iter().chain(inside.returns));
            }
            Statement::ControlBarrier(kind) if kind.contains(Barrier::WORK_GROUP) => state.clear(),
            Statement::Block(block) => return self.block(block, Some(state)),
            Statement::If { accept, reject, .. } => {
                let accepted = self.block(accept, Some(state.clone()));
                let rejected = self.block(reject, Some(state));
                return join(accepted.into_iter().chain(rejected));
            }
            Statement::Loop {
                body, continuing, ..
            } => return self.repeat(body, continuing, state),
            Statement::Break => return leave(&mut self.breaks, state),
            Statement::Continue => return leave(&mut self.continues, state),
            Statement::Return { .. } => {
                self.returns.push(state);
                return None;
            }
            Statement::Switch { .. } => panic!("this walk does not know switches"),
            _ => {}
        }
        Some(state)
    }

    fn repeat(&mut self, body: &Block, continuing: &Block, mut head: State) -> Option<State> {
        loop {
            self.breaks.push(Vec::new());
            self.continues.push(Vec::new());
            let end = self.block(body, Some(head.clone()));
            let continues = self.continues.pop().unwrap_or_default();
            let end = self.block(continuing, join(end.into_iter().chain(continues)));
            let breaks = self.breaks.pop().unwrap_or_default();
            let next = join(end.into_iter().chain([head.clone()])).unwrap_or_default();
            if next == head {
                return join(breaks);
            }
            head = next;
        }
    }

    /// Two accesses, at least one of which writes, must not meet, unless both are at the invocation's own element: one of the
    /// same index. Who reads its own element and another's may write to its own: what is folded into it belongs to nobody
    /// who writes.
    fn access(&mut self, state: &mut State, pointer: Handle<Expression>, kind: Kind) {
        if let Some((variable, index)) = self.place(pointer) {
            self.access_at(state, variable, index, kind);
        }
    }

    /// A matrix lies at many indices, which its subgroup shares.
    fn access_matrix(&mut self, state: &mut State, pointer: Handle<Expression>, kind: Kind) {
        if let Some((variable, _)) = self.place(pointer) {
            self.access_at(state, variable, Index::Varying, kind);
        }
    }

    fn access_at(
        &mut self,
        state: &mut State,
        variable: Handle<GlobalVariable>,
        index: Index,
        kind: Kind,
    ) {
        let is_own = |other: &Index| *other == index && index != Index::Varying;
        let folds = state.contains(&(variable, index.clone(), Kind::Load)) && is_own(&index);
        let meets = |(other, at, before): &&Access| {
            let are_updates = (*before, kind) == (Kind::Update, Kind::Update);
            let writes = *before != Kind::Load || kind != Kind::Load && !folds;
            *other == variable && !is_own(at) && writes && !are_updates
        };
        if let Some((_, other, before)) = state.iter().find(meets) {
            self.hazards.insert(format!(
                "{kind:?} at {index:?} meets {before:?} at {other:?} in {:?}",
                self.function.name
            ));
        }
        state.insert((variable, index, kind));
    }

    /// The workgroup variable and the index to which a pointer points.
    fn place(&self, pointer: Handle<Expression>) -> Option<(Handle<GlobalVariable>, Index)> {
        match self.function.expressions[pointer] {
            Expression::GlobalVariable(variable) => {
                let space = self.module.global_variables[variable].space;
                (space == AddressSpace::WorkGroup).then(|| (variable, Index::Fixed(String::new())))
            }
            Expression::Access { base, index } => {
                let (variable, _) = self.place(base)?;
                let text = self.text(index);
                Some((variable, text.map_or(Index::Varying, Index::Fixed)))
            }
            Expression::AccessIndex { base, index } => {
                let (variable, _) = self.place(base)?;
                Some((variable, Index::Fixed(index.to_string())))
            }
            _ => None,
        }
    }

    /// An expression as text, unless a variable is in it.
    fn text(&self, expression: Handle<Expression>) -> Option<String> {
        Some(match self.function.expressions[expression] {
            Expression::Load { .. } => return None,
            Expression::Binary { op, left, right } => {
                format!("({} {op:?} {})", self.text(left)?, self.text(right)?)
            }
            Expression::AccessIndex { base, index } => format!("{}.{index}", self.text(base)?),
            Expression::Literal(literal) => format!("{literal:?}"),
            Expression::Constant(constant) => format!("{constant:?}"),
            Expression::Override(constant) => format!("{constant:?}"),
            // An invocation calls a function with its own arguments, which tell it from the others.
            Expression::FunctionArgument(argument) => {
                format!("{:?}'s argument {argument}", self.function.name)
            }
            _ => format!("{:?}'s {expression:?}", self.function.name),
        })
    }
}

/// Notes what holds where the innermost loop is left or goes on.
fn leave(ways: &mut [Vec<State>], state: State) -> Option<State> {
    ways.last_mut().expect("it is in a loop").push(state);
    None
}
