"""Networks of segmentation-models-pytorch: names, sizes, weights, what learns and how fast."""

import pytest
import torch
from torch import nn

from gleclip_cli.errors import UsageError
from gleclip_cli.seg.initial import fill, find_initial
from gleclip_cli.seg.network import NetworkSpec, build_network
from gleclip_cli.seg.smp import SmpNetwork, smp_network

smp = pytest.importorskip("segmentation_models_pytorch")
NAME = "smp:deeplabv3plus:mobilenet_v2"


@pytest.fixture(scope="module")
def small() -> SmpNetwork:
    torch.manual_seed(0)
    return smp_network("smp:unet:mobilenet_v2", 3, pretrained=True)


@pytest.mark.parametrize("size", [(1, 1), (33, 70)])
def test_13_any_size_goes_through(small, size):
    assert small.eval()(torch.rand(2, 3, *size)).shape == (2, 3, *size)


def test_padding_is_the_mean_colour_to_the_right_and_below(small):
    seen = []
    handle = small.network.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    with torch.no_grad():
        small.eval()(torch.zeros(1, 3, 20, 40))
    handle.remove()
    assert seen[0].shape == (1, 3, 32, 64)
    assert (seen[0][..., 20:, :] == 0).all()  # standardised: zero is the mean
    assert torch.equal(seen[0][..., :20, :40], small.normalise(torch.zeros(1, 3, 20, 40)))


def test_parts_that_do_not_go_together_are_told():
    with pytest.raises(UsageError, match=r"do not go together: .*output_stride"):
        smp_network("smp:pan:tu-swin_tiny_patch4_window7_224", 3, pretrained=False)


def test_new_layers_learn_faster_than_pretrained_ones_and_vectors_do_not_decay(small):
    optimiser = small.optimiser(learning_rate=1.0, weight_decay=0.1)
    found = {
        id(parameter): (group["rate"], group["weight_decay"])
        for group in optimiser.param_groups
        for parameter in group["params"]
    }
    assert len(found) == sum(1 for _ in small.parameters())
    without = small.optimiser(learning_rate=1.0, weight_decay=0.0).param_groups
    assert {id(p) for group in without for p in group["params"]} == set(found)
    named = {name: found[id(parameter)] for name, parameter in small.named_parameters()}
    assert named["network.encoder.features.0.0.weight"] == (1.0, 0.1)
    assert named["network.encoder.features.0.1.weight"] == (1.0, 0.0)
    assert named["network.segmentation_head.0.weight"] == (10.0, 0.1)
    assert named["network.segmentation_head.0.bias"] == (10.0, 0.0)


def test_frozen_norms_of_the_encoder_never_change():
    torch.manual_seed(0)
    network = smp_network("smp:unet:mobilenet_v2", 3, pretrained=True)
    network.freeze_norms()
    network.train()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    optimiser = network.optimiser(learning_rate=0.1, weight_decay=0.1)
    network.training_logits(torch.rand(2, 3, 32, 32))[0].square().mean().backward()
    optimiser.step()
    norms = [n for n, m in network.body.named_modules() if isinstance(m, nn.BatchNorm2d)]
    changed = {
        name for name, value in network.state_dict().items() if not torch.equal(value, state[name])
    }
    assert len(norms) == 52
    assert not {f"network.encoder.{n}.{k}" for n in norms for k in ("weight", "running_mean")} & (
        changed
    )
    assert "network.encoder.features.0.0.weight" in changed
    assert any(name.endswith("running_mean") and "decoder" in name for name in changed)


def test_a_state_dict_of_timm_fits_however_it_names_stages(tmp_path):
    import timm

    torch.manual_seed(0)
    path = tmp_path / "model.pth"
    full = timm.create_model("convnext_atto").state_dict()
    torch.save({"model": full}, path)
    network = smp_network("smp:unet:tu-convnext_atto", 3, pretrained=True)
    initial = find_initial("smp:unet:tu-convnext_atto", str(path))
    assert initial is not None
    (note,) = fill(network.body, None, initial)
    assert note.endswith("model.pth: head.")
    assert torch.equal(
        network.body.state_dict()["model.stages_1.blocks.0.conv_dw.weight"],
        full["stages.1.blocks.0.conv_dw.weight"],
    )


def test_shared_imagenet_weights_load_into_deeplabv3plus(photographs):
    path = photographs("weights") / "mobilenetv2_imagenet.safetensors"
    network = build_network(NetworkSpec(arch=NAME, num_classes=21, pretrained=True))
    initial = find_initial(NAME, str(path))
    assert initial is not None
    (note,) = fill(network.body, None, initial)
    assert note.endswith(": classifier.")
    weight = network.body.state_dict()["features.18.0.weight"]
    assert torch.equal(weight, initial.tensors["features.18.0.weight"].float())


@pytest.mark.slow
@pytest.mark.parametrize("decoder", sorted(smp.MODEL_ARCHITECTURES_MAPPING))
def test_every_decoder_takes_pictures_of_any_size_and_learns(decoder):
    encoder = "tu-vit_tiny_patch16_224" if decoder == "dpt" else "resnet18"
    network = smp_network(f"smp:{decoder}:{encoder}", 3, pretrained=False)
    (logits,) = network.train().training_logits(torch.rand(2, 3, 40, 70))
    assert logits.shape == (2, 3, 40, 70)
    logits.square().mean().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["resnet34", "vgg11_bn", "densenet121", "efficientnet-b0",
    "mit_b0", "mobileone_s0", "timm-skresnet18", "tu-swin_tiny_patch4_window7_224",
    "tu-mobilenetv3_large_100", "tu-resnet18.a1_in1k"])  # fmt: skip
def test_encoders_of_the_package_and_of_timm(encoder):
    network = smp_network(f"smp:unet:{encoder}", 3, pretrained=False).eval()
    with torch.no_grad():
        assert network(torch.rand(1, 3, 50, 64)).shape == (1, 3, 50, 64)
