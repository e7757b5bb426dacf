from pathlib import Path

import pytest

from prunebench.variants.retraining.state import StateStore


def train_epochs(store: StateStore, epochs: int, *, finished: bool = False) -> None:
    """What Ultralytics leaves after each epoch, as far as the store sees it."""
    for epoch in range(store.state.epochs + 1, epochs + 1):
        store.weights.mkdir(parents=True, exist_ok=True)
        (store.weights / "last.pt").write_bytes(b"last %d" % epoch)
        (store.weights / "best.pt").write_bytes(b"best %d" % epoch)
        header = "" if store.curves.exists() else "epoch,loss\n"
        with store.curves.open("a") as stream:
            stream.write(f"{header}{epoch},0.5\n")
        store.save_epoch(epoch, finished=finished and epoch == epochs, stopped=None)


@pytest.fixture
def interrupted(tmp_path: Path) -> Path:
    """A folder whose training was killed while it saved epoch 3 of some."""
    store = StateStore(tmp_path, "request")
    assert store.begin() is None
    train_epochs(store, 2)
    store.update(seconds=12.5)
    (store.weights / "last.pt").write_bytes(b"las")
    (store.weights / "best.pt").write_bytes(b"")
    with store.curves.open("a") as stream:
        stream.write("3,0.4\n")
    return tmp_path


def test_continues_with_complete_files_and_without_the_unsaved_epoch(interrupted: Path) -> None:
    store = StateStore(interrupted, "request")
    last = store.begin()
    assert last == store.weights / "last.pt"
    assert last.read_bytes() == b"last 2"
    assert (store.weights / "best.pt").read_bytes() == b"best 2"
    assert store.curves.read_text() == "epoch,loss\n1,0.5\n2,0.5\n"
    assert (store.state.epochs, store.state.resumed, store.state.seconds) == (2, 1, 12.5)


def test_only_the_newest_copies_are_kept(interrupted: Path) -> None:
    assert sorted(p.name for p in (interrupted / "good").iterdir()) == ["best-2.pt", "last-2.pt"]


def test_an_epoch_that_is_the_best_is_copied_once(tmp_path: Path) -> None:
    store = StateStore(tmp_path, "request")
    store.begin()
    store.weights.mkdir(parents=True)
    store.curves.write_text("epoch,loss\n")
    for epoch, best in ((1, 1), (2, 1), (3, 3)):
        (store.weights / "last.pt").write_bytes(b"epoch %d" % epoch)
        (store.weights / "best.pt").write_bytes(b"epoch %d" % best)
        store.save_epoch(epoch, finished=False, stopped=None)
        copies = {f"last-{epoch}.pt", f"last-{best}.pt"}
        assert {path.name for path in (tmp_path / "good").iterdir()} == copies
        again = StateStore(tmp_path, "request")
        again.begin()
        assert (again.weights / "last.pt").read_bytes() == b"epoch %d" % epoch
        assert (again.weights / "best.pt").read_bytes() == b"epoch %d" % best


@pytest.mark.parametrize("name", ["last-2.pt", "best-2.pt"])
@pytest.mark.parametrize("damage", [b"", b"last 3"])
def test_starts_again_where_a_copy_is_damaged(interrupted: Path, name: str, damage: bytes) -> None:
    (interrupted / "good" / name).write_bytes(damage)
    store = StateStore(interrupted, "request")
    assert store.begin() is None
    assert not store.fit.exists()
    assert (store.state.epochs, store.state.resumed) == (0, 0)
    assert store.state.seconds == 12.5, "the time was spent all the same"


def test_another_request_starts_again(interrupted: Path) -> None:
    store = StateStore(interrupted, "another request")
    assert store.begin() is None
    assert (store.state.epochs, store.state.seconds) == (0, 0.0)


@pytest.mark.parametrize("text", ["", "{", '{"digest": "request", "epochs": "many"}', "[]"])
def test_an_unreadable_state_starts_again(interrupted: Path, text: str) -> None:
    (interrupted / "state.json").write_text(text)
    assert StateStore(interrupted, "request").begin() is None


def test_a_kill_between_copying_and_naming_keeps_the_epoch_before(
    interrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = StateStore(interrupted, "request")
    store.begin()

    def killed(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "update", killed)
    with pytest.raises(KeyboardInterrupt):
        train_epochs(store, 3)
    again = StateStore(interrupted, "request")
    last = again.begin()
    assert last is not None
    assert last.read_bytes() == b"last 2"


def test_a_finished_training_keeps_only_its_final_file(tmp_path: Path) -> None:
    store = StateStore(tmp_path, "request")
    store.begin()
    train_epochs(store, 2, finished=True)
    assert StateStore(tmp_path, "request").state.finished
    model = tmp_path / "model.pt"
    model.write_bytes(b"final")
    from prunebench.common.records import FileRef

    store.finish(FileRef.of(model, tmp_path), {"metrics/mAP50(B)": 0.5})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.pt", "state.json"]
    again = StateStore(tmp_path, "request").state
    assert again.finished
    assert again.metrics == {"metrics/mAP50(B)": 0.5}
    model.write_bytes(b"other")
    assert not StateStore(tmp_path, "request").state.finished
