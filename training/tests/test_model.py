"""The networks: sizes, shapes, the paper's network by its numbers, pretrained weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from noctua_training.model import ARCHITECTURES, build, parameter_count, supervised
from noctua_training.vgg import VGGUNet


def test_network_sizes():
    assert parameter_count(build("res-unet", 2)) == 504_306
    assert parameter_count(build("vgg-unet", 2)) == 24_891_202  # the paper's, at 2 classes
    with pytest.raises(ValueError, match="choose one of"):
        build("none", 2)
    with pytest.raises(ValueError, match="two classes"):
        build("res-unet", 1)


@pytest.mark.parametrize("arch", sorted(ARCHITECTURES))
def test_one_logit_a_class_and_pixel(arch):
    outputs = supervised(build(arch, 3).eval(), torch.zeros(2, 3, 64, 96))
    assert {tuple(o.shape) for o in outputs} == {(2, 3, 64, 96)}
    assert len(outputs) == (2 if arch.startswith("w-net") else 1)


def test_paper_network_has_five_feature_layers_and_no_batch_norm():
    model = VGGUNet(2)
    sizes = []
    for stage in model.encoder:
        stage.register_forward_hook(lambda m, i, o: sizes.append(tuple(o.shape[1:])))
    model(torch.zeros(1, 3, 64, 64))
    assert sizes == [(64, 64, 64), (128, 32, 32), (256, 16, 16), (512, 8, 8), (512, 4, 4)]
    assert [s[-2].out_channels for s in model.decoder] == [512, 256, 128, 64]
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())


def test_pretrained_encoder(tmp_path):
    """A state dict as torchvision names it fills the encoder; anything else is refused."""
    torch.manual_seed(2)
    state, index, inputs = {}, 0, 3
    for layer in ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3):
        for width in layer:
            state[f"features.{index}.weight"] = torch.randn(width, inputs, 3, 3)
            state[f"features.{index}.bias"] = torch.randn(width)
            index, inputs = index + 2, width  # convolution, ReLU
        index += 1  # pool
    state["classifier.0.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "vgg16.pt")
    model = VGGUNet(2)
    model.load_pretrained(tmp_path / "vgg16.pt")
    assert torch.equal(model.encoder[0][0].weight, state["features.0.weight"])
    assert torch.equal(model.encoder[4][4].bias, state["features.28.bias"])
    model.freeze_encoder(True)
    assert not any(p.requires_grad for p in model.encoder.parameters())
    assert all(p.requires_grad for p in model.decoder.parameters())
    del state["features.28.bias"]
    torch.save(state, tmp_path / "vgg16.pt")
    with pytest.raises(ValueError, match="VGG16"):
        model.load_pretrained(tmp_path / "vgg16.pt")
