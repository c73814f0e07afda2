"""Trial set: a trial list that was checked against a manifest, as places of its rows."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from vofp_plugin.dataio.manifests import some
from vofp_plugin.evaluation.detection_table import TrialFacts
from vofp_plugin.evaluation.trial_lists import check_trials, write_enrollments, write_trials
from vofp_plugin.tasks.detection import RULES


class TrialSet(NamedTuple):
    """M trials with E enrollments; utterances are places in the manifest.

    Arguments
    ---------
    trials : list of Trial
    enrollments : dict
        {name: utterance IDs}, of which every name is used.
    facts : TrialFacts
    enrollment : numpy.ndarray
        Index of the enrollment of each trial, (M,).
    query : numpy.ndarray
        Place of the query of each trial, (M,).
    speakers : list of str
        Of each enrollment.
    places : numpy.ndarray
        Of the utterances that enroll, (E, largest K).
    """

    trials: list
    enrollments: dict
    facts: TrialFacts
    enrollment: np.ndarray
    query: np.ndarray
    speakers: list
    places: np.ndarray

    @classmethod
    def of(cls, trials, enrollments, rows, shots):
        """Looks up a list in manifest rows; errors are those of `check_trials`.

        Example
        -------
        >>> from vofp_plugin.evaluation.trial_lists import Trial
        >>> rows = [{"ID": name, "spk_id": name[0], "command": "up"} for name in ("a1", "a2", "b1")]
        >>> trials = [Trial(True, "ann", "a2", "up"), Trial(False, "ann", "b1", "up")]
        >>> asked = TrialSet.of(trials, {"ann": ["a1"]}, rows, shots=[1])
        >>> asked.query.tolist(), asked.places.tolist(), asked.speakers
        ([1, 2], [[0]], ['a'])
        """
        manifest = {row["ID"]: row for row in rows}
        check_trials(trials, enrollments, manifest, shots)
        place = {name: number for number, name in enumerate(manifest)}
        used = dict.fromkeys(trial.enrollment for trial in trials)
        enrollments = {name: enrollments[name] for name in used}
        index = {name: number for number, name in enumerate(used)}
        first = [list(dict.fromkeys(names))[: max(shots)] for names in enrollments.values()]
        return cls(
            trials,
            enrollments,
            TrialFacts.of(trials, enrollments, manifest),
            np.array([index[trial.enrollment] for trial in trials]),
            np.array([place[trial.query] for trial in trials]),
            [manifest[names[0]]["spk_id"] for names in first],
            np.array([[place[name] for name in names] for names in first]),
        )

    def write(self, folder, name):
        """Writes `NAME_trials.txt` and `NAME_enrollments.txt`, which another run can be given."""
        write_trials(self.trials, Path(folder) / f"{name}_trials.txt")
        write_enrollments(self.enrollments, Path(folder) / f"{name}_enrollments.txt")

    def check_labels(self, rule):
        """Refuses a list whose labels are not those that the manifest gives by a rule of `RULES`.

        Claims of a kind that the rule neither accepts nor rejects may have any label.
        """
        asked = np.isin(self.facts.kind, (*RULES[rule].accepted, *RULES[rule].rejected))
        labels = np.array([trial.accepted for trial in self.trials])
        wrong = np.flatnonzero(asked & (labels != self.facts.accepted(rule)))
        if len(wrong):
            texts = [f"{self.trials[i].enrollment} {self.trials[i].query}" for i in wrong]
            raise ValueError(
                f"Got {len(wrong)} trials whose label is not that of their speakers and words by "
                f"the rule {rule} ({some(texts)}); fix the labels, or choose another rule."
            )

    def words(self, classes):
        """Class index of the claimed word of each trial, (M,).

        Arguments
        ---------
        classes : CategoricalEncoder
        """
        unknown = {str(trial.word) for trial in self.trials} - set(classes.lab2ind)
        if unknown:
            raise ValueError(
                f"Got trials that claim the words {some(sorted(unknown))}; expected one of "
                f"{', '.join(classes.lab2ind)} at the end of every line."
            )
        return np.array([classes.lab2ind[trial.word] for trial in self.trials])

    def trials_of_speakers(self):
        """Indices of the trials of every enrolled speaker, {name: (trials,)}, sorted by name."""
        names = np.array(self.speakers)[self.enrollment]
        return {str(name): np.flatnonzero(names == name) for name in np.unique(names)}

    def strangers(self):
        """For each enrollment, that of another speaker who stands in for the target, (E,).

        The one of whose utterances fewest are asked, the next one in the list among equals.
        """
        asked = [set(self.query[self.enrollment == e].tolist()) for e in range(len(self.speakers))]
        return np.array([self._stranger(e, asked[e]) for e in range(len(self.speakers))])

    def _stranger(self, enrollment, asked):
        number = len(self.speakers)
        others = [(enrollment + step) % number for step in range(1, number)]
        others = [e for e in others if self.speakers[e] != self.speakers[enrollment]]
        if not others:
            raise ValueError(
                "Got trials with one enrolled speaker; expected two, or none can be the stranger "
                "of another: enroll more speakers."
            )
        return min(others, key=lambda e: len(asked.intersection(self.places[e].tolist())))
