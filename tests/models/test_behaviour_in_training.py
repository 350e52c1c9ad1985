"""What every model does in training, on any number of threads, whatever its class: the second half of test_behaviour.py."""

import copy

import pytest
import torch
from every_model import EVERY, MADE, TRAINED, TRAINING, numbers, of_all, small_data, trained
from support import on_the_cpu, same_bits_in_any_order

from fastgcn_rec import fit, propagate
from fastgcn_rec.training import Interrupted

every_trained = pytest.mark.parametrize("kind", TRAINED)


@pytest.fixture
def model(kind):
    return trained(kind)


@every_trained
def test_a_second_training_goes_on_and_the_same_ones_give_the_same_bits(kind, device):
    data, once = small_data(), copy.deepcopy(trained(kind)).to(device)
    models = [copy.deepcopy(once), copy.deepcopy(once)]
    for model in models:
        fit(model, data, **TRAINING)
    assert not all(map(torch.equal, numbers(once), numbers(models[0])))
    assert all(map(torch.equal, numbers(models[0]), numbers(models[1])))
    assert all(bool(p.isfinite().all()) for p in models[0].parameters())


@every_trained
def test_what_the_native_step_trains_is_what_ranks(model):
    alphas = model.diffusion()
    if alphas is not None:
        z = propagate(model.graph, model.ego_embedding(), alphas, model.norm)
        torch.testing.assert_close(z, model.get_embedding(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", MADE)
def test_what_is_made_without_training_is_not_trained(model):
    with pytest.raises(TypeError, match=f"fit: {type(model).__name__} has no parameters to train"):
        fit(model, small_data(), progress=False)


@on_the_cpu
@pytest.mark.parametrize("kind", EVERY)
def test_the_same_bits_for_any_number_of_threads(kind):
    data = small_data()

    def run():
        model, losses = EVERY[kind](data), []
        if kind in TRAINED:
            fit(model, data, **TRAINING | {"epochs": 1, "loss": "softmax", "sampler": "user"})
            losses = [e["loss"] for e in fit(model, data, **TRAINING | {"epochs": 1, "protocol": "validation"}).epochs]
        folded = [model.fold_in_users([data.item_ids[[0, 3]].tolist()])] if model.row_scorer() is None else []
        said = [torch.from_numpy(a) for a in of_all(model)]
        return [torch.tensor(losses), *numbers(model), *folded, *said]

    same_bits_in_any_order(run, torch.device("cpu"))


@every_trained
def test_an_interrupted_training_goes_on_to_the_same_bits(kind, device, tmp_path):
    data, options = small_data(), TRAINING | {"epochs": 4, "eval_every": 2, "protocol": "validation", "loss": "softmax"}
    straight, broken, resumed = (EVERY[kind](data).to(device) for _ in range(3))
    whole = fit(straight, data, **options)

    def stop(record):
        if record["epoch"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="run the same command again"):
        fit(broken, data, **options, checkpoint=tmp_path / "c.npz", on_epoch=stop)
    history = fit(resumed, data, **options, checkpoint=tmp_path / "c.npz")
    assert [r["loss"] for r in history.epochs] == [r["loss"] for r in whole.epochs]
    assert all(map(torch.equal, numbers(resumed), numbers(straight)))
