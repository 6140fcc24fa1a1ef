"""Every rule about stages, branches, waits and starts that is taken away, in worlds of random courses."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from orchestrator.core import asking, course, rules, timers
from orchestrator.core.moment import Moment
from orchestrator.intake import Submission
from simulation.courses.plan import plan_of
from simulation.mutations import mutants, settings, stage_mutants
from simulation.mutations.trial import Mutation
from simulation.patches import Patch

_Mutation = partial(Mutation, plans=plan_of)

STAGE_MUTATIONS: Final[Sequence[Mutation]] = (
    _Mutation(
        "S20 answers to their pieces",
        "an answer is credited to another piece of the stage",
        (Patch(rules, "succeed", stage_mutants.credited_to_another),),
    ),
    _Mutation(
        "S20 a stage is left whole",
        "it is left when its first piece is done",
        (Patch(rules, "succeed", stage_mutants.left_at_the_first),),
    ),
    _Mutation(
        "S20 due with the earliest",
        "a saga is looked at when the last of its pieces wants it",
        (Patch(timers, "due_at", stage_mutants.due_with_the_last),),
    ),
    _Mutation(
        "S21 siblings are undone",
        "what was asked for beside is forgotten when a saga turns round",
        (
            Patch(rules, "turn", stage_mutants.siblings_forgotten),
            Patch(course, "turn", stage_mutants.siblings_forgotten),
        ),
    ),
    _Mutation(
        "S21 a stage is undone whole",
        "of a stage one piece is undone after the other",
        (
            Patch(rules, "undo_next", stage_mutants.one_of_a_stage_undone),
            Patch(course, "undo_next", stage_mutants.one_of_a_stage_undone),
        ),
    ),
    _Mutation(
        "S21 reverse order of stages",
        "a stage is undone before the one after it is",
        (
            Patch(rules, "undo_next", stage_mutants.all_stages_at_once),
            Patch(course, "undo_next", stage_mutants.all_stages_at_once),
        ),
    ),
    _Mutation(
        "S22 items as first worked out",
        "they are worked out anew for each copy, after the function was edited too",
        (Patch(asking, "_command_for", stage_mutants.worked_out_for_each_copy),),
        adjust=settings.with_edited_functions,
        known=6,
    ),
    _Mutation(
        "S22 items stand in the history",
        "the fold works them out anew",
        (Patch(Moment, "work_out", stage_mutants.worked_out_in_the_fold),),
        adjust=settings.with_edited_functions,
    ),
    _Mutation(
        "S22 some branches suffice",
        "one rejected branch of a pivot turns the saga round",
        (Patch(rules, "branch_rejected", stage_mutants.turned_by_one_branch),),
    ),
    _Mutation(
        "S22 one branch at least",
        "a pivot of which no branch succeeded is gone on from",
        (Patch(course, "leave_branches", stage_mutants.on_with_none),),
        known=57,
    ),
    _Mutation(
        "S23 early signals are kept",
        "one that comes before its wait is forgotten",
        (mutants.rule("take_signal", stage_mutants.early_signal_lost),),
        known=2,
    ),
    _Mutation(
        "S23 a signal is taken once",
        "a further one takes its place",
        (mutants.rule("take_signal", stage_mutants.signal_taken_twice),),
        known=5,
    ),
    _Mutation(
        "S23 the same signal again",
        "it is refused",
        (mutants.rule("take_signal", stage_mutants.refused_when_repeated),),
        known=5,
    ),
    _Mutation(
        "S23 a wait lasts",
        "it is over as soon as somebody looks",
        (
            Patch(timers, "look", stage_mutants.impatient),
            Patch(timers, "due_at", stage_mutants.always_due),
        ),
    ),
    _Mutation(
        "S24 keys of a definition",
        "a caller's key counts for every definition",
        (Patch(Submission, "claimant", lambda original: property(lambda self: self.owner)),),
        known=5,
    ),
)
