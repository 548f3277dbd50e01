"""One of several processes that optimise one Optuna study: `python benchmarks/_optuna_process.py FOLDER EVALUATIONS SECONDS`."""

from __future__ import annotations

import sys

import optuna
from _times import sleep
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import MaxTrialsCallback
from optuna.trial import TrialState


def main(folder: str, evaluations: str, seconds: str) -> None:
    def objective(trial: optuna.Trial) -> float:
        sleep(folder, float(seconds))
        return trial.suggest_float("x", 0, 1)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(f"{folder}/journal.log"))
    study = optuna.create_study(storage=storage, study_name="peer", load_if_exists=True)
    study.optimize(objective, callbacks=[MaxTrialsCallback(int(evaluations), states=(TrialState.COMPLETE,))])


if __name__ == "__main__":
    main(*sys.argv[1:])
