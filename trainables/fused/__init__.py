"""Trains several learners together in one process: each optimizer step is taken for all at once.

`FusedGroup(lanes).train_epoch()` returns the results of `learner.epoch()` of each lane, but faster. On the
CPU, with one thread and the chain engine, the results are bit-equal whatever other lanes are in the group,
in whatever order, and whichever join or leave between epochs. A learner still owns its state: its parameters
(views of the group's memory), its optimizer's state and its schedule stay in place, so checkpoints,
evaluation and PBT's copies do not depend on this package.

eligibility.py     which learners can be fused with which, and why one cannot
layer_chain.py     a net read as a chain of layers
parameter_bank.py  the parameters of all lanes, one tensor for each shape
batched_ops.py     batched products and reductions, bit-equal to single ones
chain_engine.py    losses and gradients of nets that are chains, bit-equal
stacked_layers.py  the layers of that engine
vmap_engine.py     losses and gradients of any other net, within a tolerance
stacked_losses.py  a criterion for all lanes
stacked_optimizers.py, stacked_splus.py  an optimizer step for all lanes
lane_stack.py      lanes arranged for one of the engines, and one step of all of them
group.py           the group: lanes join, train an epoch and leave
"""

from trainables.fused.eligibility import FusionKey as FusionKey
from trainables.fused.eligibility import NotFusible as NotFusible
from trainables.fused.eligibility import fusion_key as fusion_key
from trainables.fused.eligibility import fusion_obstacle as fusion_obstacle
from trainables.fused.group import FusedGroup as FusedGroup
from trainables.fused.group import Lane as Lane
