"""The kinds of CloudFormation resources that the emulator makes itself, each by the calls of the API that make one."""

from __future__ import annotations

import json
import secrets
import string
from typing import Any

from tests.emulator.kind import Made, Maker, fitted, pairs, truth, without
from tests.emulator.sizes import refuse_size

# ---- ECS ----


def _make_cluster(ecs: Any, name: str, properties: dict[str, Any], tags: dict[str, str]) -> Made:
    rest = fitted(ecs, "CreateCluster", {**without(properties, "ClusterSettings"), "ClusterName": name})
    settings = [_setting(one) for one in properties.get("ClusterSettings", [])]
    made = ecs.create_cluster(**rest, settings=settings, tags=pairs(tags, "key", "value"))["cluster"]
    return name, {"Arn": made["clusterArn"]}


def _setting(setting: dict[str, str]) -> dict[str, str]:
    return {"name": setting["Name"], "value": setting["Value"]}


def _make_task_definition(ecs: Any, name: str, properties: dict[str, Any], tags: dict[str, str]) -> Made:
    asked = fitted(ecs, "RegisterTaskDefinition", {"Family": name, **without(properties)})
    refuse_size(asked["cpu"], asked["memory"])
    arn = ecs.register_task_definition(**asked, tags=pairs(tags, "key", "value"))["taskDefinition"]["taskDefinitionArn"]
    return arn, {"TaskDefinitionArn": arn}


def _associate(ecs: Any, name: str, properties: dict[str, Any], tags: dict[str, str]) -> Made:
    _put_providers(ecs, properties["Cluster"], properties)
    return properties["Cluster"], {}


def _put_providers(ecs: Any, cluster: str, properties: dict[str, Any]) -> None:
    ecs.put_cluster_capacity_providers(**fitted(ecs, "PutClusterCapacityProviders", without(properties)))


def _dissociate(ecs: Any, cluster: str, properties: dict[str, Any]) -> None:
    ecs.put_cluster_capacity_providers(cluster=cluster, capacityProviders=[], defaultCapacityProviderStrategy=[])


# ---- ElastiCache ----


def _make_subnet_group(cache: Any, name: str, properties: dict[str, Any], tags: dict[str, str]) -> Made:
    asked = {**without(properties, "Description"), "CacheSubnetGroupName": name.lower()}
    asked = fitted(cache, "CreateCacheSubnetGroup", {**asked, "CacheSubnetGroupDescription": properties["Description"]})
    cache.create_cache_subnet_group(**asked, Tags=pairs(tags))
    return name.lower(), {}


def _make_parameter_group(cache: Any, name: str, properties: dict[str, Any], tags: dict[str, str]) -> Made:
    name = properties.get("CacheParameterGroupName", name).lower()
    asked = {"CacheParameterGroupName": name, "CacheParameterGroupFamily": properties["CacheParameterGroupFamily"]}
    cache.create_cache_parameter_group(**asked, Description=properties["Description"], Tags=pairs(tags))
    _set_parameters(cache, name, properties)
    return name, {}


def _set_parameters(cache: Any, name: str, properties: dict[str, Any]) -> None:
    values = [
        {"ParameterName": key, "ParameterValue": str(value)} for key, value in properties.get("Properties", {}).items()
    ]
    if values:
        cache.modify_cache_parameter_group(CacheParameterGroupName=name, ParameterNameValues=values)


# ---- Secrets, logs, images ----


def _make_secret(manager: Any, name: str, properties: dict[str, Any], tags: dict[str, str]) -> Made:
    asked = {**without(properties, "GenerateSecretString"), "Name": name}
    if "GenerateSecretString" in properties:
        asked["SecretString"] = _generated(properties["GenerateSecretString"])
    arn = manager.create_secret(**fitted(manager, "CreateSecret", asked), Tags=pairs(tags))["ARN"]
    return arn, {"Id": arn}


def _generated(asked: dict[str, Any]) -> str:
    """Return a random password, alone or under its key in the template."""
    letters = (
        string.digits
        + string.ascii_letters
        + ("" if truth(asked.get("ExcludePunctuation", False)) else string.punctuation)
    )
    letters = "".join(letter for letter in letters if letter not in asked.get("ExcludeCharacters", ""))
    password = "".join(secrets.choice(letters) for _ in range(int(asked.get("PasswordLength", 32))))
    if "SecretStringTemplate" not in asked:
        return password
    return json.dumps({**json.loads(asked["SecretStringTemplate"]), asked["GenerateStringKey"]: password})


def _change_secret(manager: Any, arn: str, properties: dict[str, Any]) -> None:
    known = {"Description", "SecretString", "KmsKeyId"} & {*properties}
    manager.update_secret(SecretId=arn, **{name: properties[name] for name in known})


def _make_log_group(logs: Any, name: str, properties: dict[str, Any], tags: dict[str, str]) -> Made:
    logs.create_log_group(logGroupName=name, tags=tags)
    _retain(logs, name, properties)
    return name, {
        "Arn": logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"][0]["arn"].removesuffix(":*") + ":*"
    }


def _retain(logs: Any, name: str, properties: dict[str, Any]) -> None:
    if "RetentionInDays" in properties:
        logs.put_retention_policy(logGroupName=name, retentionInDays=int(properties["RetentionInDays"]))


def _make_repository(ecr: Any, name: str, properties: dict[str, Any], tags: dict[str, str]) -> Made:
    asked = {**without(properties, "LifecyclePolicy", "EmptyOnDelete"), "RepositoryName": name.lower()}
    made = ecr.create_repository(**fitted(ecr, "CreateRepository", asked), tags=pairs(tags))["repository"]
    _set_lifecycle(ecr, name.lower(), properties)
    return name.lower(), {"Arn": made["repositoryArn"], "RepositoryUri": made["repositoryUri"]}


def _set_lifecycle(ecr: Any, name: str, properties: dict[str, Any]) -> None:
    if text := properties.get("LifecyclePolicy", {}).get("LifecyclePolicyText"):
        ecr.put_lifecycle_policy(repositoryName=name, lifecyclePolicyText=text)


def _delete_repository(ecr: Any, name: str, properties: dict[str, Any]) -> None:
    ecr.delete_repository(repositoryName=name, force=truth(properties.get("EmptyOnDelete", False)))


# ---- IAM ----


def _make_role(iam: Any, name: str, properties: dict[str, Any], tags: dict[str, str]) -> Made:
    document = json.dumps(properties["AssumeRolePolicyDocument"])
    asked = without(properties, "AssumeRolePolicyDocument", "Policies", "ManagedPolicyArns")
    asked = fitted(iam, "CreateRole", {**asked, "RoleName": name})
    role = iam.create_role(**asked, AssumeRolePolicyDocument=document, Tags=pairs(tags))["Role"]
    _set_policies(iam, name, properties)
    return name, {"Arn": role["Arn"], "RoleId": role["RoleId"]}


def _set_policies(iam: Any, name: str, properties: dict[str, Any]) -> None:
    for arn in properties.get("ManagedPolicyArns", []):
        iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    for policy in properties.get("Policies", []):
        document = json.dumps(policy["PolicyDocument"])
        iam.put_role_policy(RoleName=name, PolicyName=policy["PolicyName"], PolicyDocument=document)


def _change_role(iam: Any, name: str, properties: dict[str, Any]) -> None:
    _strip_role(iam, name)
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(properties["AssumeRolePolicyDocument"]))
    _set_policies(iam, name, properties)


def _strip_role(iam: Any, name: str) -> None:
    for policy in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
        iam.detach_role_policy(RoleName=name, PolicyArn=policy["PolicyArn"])
    for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        iam.delete_role_policy(RoleName=name, PolicyName=policy)


def _delete_role(iam: Any, name: str, properties: dict[str, Any]) -> None:
    _strip_role(iam, name)
    iam.delete_role(RoleName=name)


def _make_policy(iam: Any, name: str, properties: dict[str, Any], tags: dict[str, str]) -> Made:
    asked = without(properties, "PolicyDocument", "Roles", "Users", "Groups")
    asked.setdefault("ManagedPolicyName", name)
    asked = fitted(
        iam, "CreatePolicy", {**without(asked, "ManagedPolicyName"), "PolicyName": asked["ManagedPolicyName"]}
    )
    arn = iam.create_policy(**asked, PolicyDocument=json.dumps(properties["PolicyDocument"]))["Policy"]["Arn"]
    for role in properties.get("Roles", []):
        iam.attach_role_policy(RoleName=role, PolicyArn=arn)
    for user in properties.get("Users", []):
        iam.attach_user_policy(UserName=user, PolicyArn=arn)
    return arn, {"PolicyArn": arn}


def _change_policy(iam: Any, arn: str, properties: dict[str, Any]) -> None:
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(properties["PolicyDocument"]), SetAsDefault=True)


def _delete_policy(iam: Any, arn: str, properties: dict[str, Any]) -> None:
    for role in properties.get("Roles", []):
        iam.detach_role_policy(RoleName=role, PolicyArn=arn)
    for user in properties.get("Users", []):
        iam.detach_user_policy(UserName=user, PolicyArn=arn)
    for version in iam.list_policy_versions(PolicyArn=arn)["Versions"]:
        if not version["IsDefaultVersion"]:
            iam.delete_policy_version(PolicyArn=arn, VersionId=version["VersionId"])
    iam.delete_policy(PolicyArn=arn)


# ---- Network ----


def _make_gateway(ec2: Any, name: str, properties: dict[str, Any], tags: dict[str, str]) -> Made:
    given = [{"ResourceType": "internet-gateway", "Tags": pairs(tags)}] if tags else []
    gateway = ec2.create_internet_gateway(TagSpecifications=given)["InternetGateway"]["InternetGatewayId"]
    return gateway, {"InternetGatewayId": gateway}


def _attach(ec2: Any, name: str, properties: dict[str, Any], tags: dict[str, str]) -> Made:
    ec2.attach_internet_gateway(InternetGatewayId=properties["InternetGatewayId"], VpcId=properties["VpcId"])
    return f"IGW|{properties['VpcId']}", {}


def _detach(ec2: Any, ref: str, properties: dict[str, Any]) -> None:
    ec2.detach_internet_gateway(InternetGatewayId=properties["InternetGatewayId"], VpcId=properties["VpcId"])


def _make_routes(ec2: Any, name: str, properties: dict[str, Any], tags: dict[str, str]) -> Made:
    given = [{"ResourceType": "route-table", "Tags": pairs(tags)}] if tags else []
    made = ec2.create_route_table(VpcId=properties["VpcId"], TagSpecifications=given)["RouteTable"]["RouteTableId"]
    return made, {"RouteTableId": made}


def _make_route(ec2: Any, name: str, properties: dict[str, Any], tags: dict[str, str]) -> Made:
    ec2.create_route(**fitted(ec2, "CreateRoute", properties))
    return f"{properties['RouteTableId']}|{properties['DestinationCidrBlock']}", {}


def _delete_route(ec2: Any, ref: str, properties: dict[str, Any]) -> None:
    table, cidr = ref.split("|")
    ec2.delete_route(RouteTableId=table, DestinationCidrBlock=cidr)


def _associate_routes(ec2: Any, name: str, properties: dict[str, Any], tags: dict[str, str]) -> Made:
    ref = ec2.associate_route_table(**fitted(ec2, "AssociateRouteTable", properties))["AssociationId"]
    return ref, {"Id": ref}


def _admit(ec2: Any, name: str, properties: dict[str, Any], tags: dict[str, str]) -> Made:
    answer = ec2.authorize_security_group_ingress(
        GroupId=properties["GroupId"], IpPermissions=[_permission(properties)]
    )
    rule = answer["SecurityGroupRules"][0]["SecurityGroupRuleId"]
    return rule, {"Id": rule}


def _refuse(ec2: Any, ref: str, properties: dict[str, Any]) -> None:
    ec2.revoke_security_group_ingress(GroupId=properties["GroupId"], IpPermissions=[_permission(properties)])


def _permission(properties: dict[str, Any]) -> dict[str, Any]:
    """Return a rule of a template as the API wants it."""
    ports = {"IpProtocol": str(properties["IpProtocol"])}
    ports |= {name: int(properties[name]) for name in ("FromPort", "ToPort") if name in properties}
    said = {"Description": properties["Description"]} if "Description" in properties else {}
    if "SourceSecurityGroupId" in properties:
        return {**ports, "UserIdGroupPairs": [{"GroupId": properties["SourceSecurityGroupId"], **said}]}
    return {**ports, "IpRanges": [{"CidrIp": properties["CidrIp"], **said}]}


KINDS = {
    "AWS::EC2::InternetGateway": Maker(
        "ec2", "", _make_gateway, lambda ec2, ref, _: ec2.delete_internet_gateway(InternetGatewayId=ref)
    ),
    "AWS::EC2::RouteTable": Maker(
        "ec2", "", _make_routes, lambda ec2, ref, _: ec2.delete_route_table(RouteTableId=ref)
    ),
    "AWS::EC2::Route": Maker("ec2", "", _make_route, _delete_route),
    "AWS::EC2::SubnetRouteTableAssociation": Maker(
        "ec2", "", _associate_routes, lambda ec2, ref, _: ec2.disassociate_route_table(AssociationId=ref)
    ),
    "AWS::EC2::VPCGatewayAttachment": Maker("ec2", "", _attach, _detach),
    "AWS::EC2::SecurityGroupIngress": Maker("ec2", "", _admit, _refuse),
    "AWS::ECS::Cluster": Maker(
        "ecs", "ClusterName", _make_cluster, lambda ecs, ref, _: ecs.delete_cluster(cluster=ref)
    ),
    "AWS::ECS::ClusterCapacityProviderAssociations": Maker("ecs", "", _associate, _dissociate, _put_providers),
    "AWS::ECS::TaskDefinition": Maker(
        "ecs", "Family", _make_task_definition, lambda ecs, ref, _: ecs.deregister_task_definition(taskDefinition=ref)
    ),
    "AWS::ElastiCache::SubnetGroup": Maker(
        "elasticache",
        "CacheSubnetGroupName",
        _make_subnet_group,
        lambda cache, ref, _: cache.delete_cache_subnet_group(CacheSubnetGroupName=ref),
    ),
    "AWS::ElastiCache::ParameterGroup": Maker(
        "elasticache",
        "CacheParameterGroupName",
        _make_parameter_group,
        lambda cache, ref, _: cache.delete_cache_parameter_group(CacheParameterGroupName=ref),
        _set_parameters,
    ),
    "AWS::SecretsManager::Secret": Maker(
        "secretsmanager",
        "Name",
        _make_secret,
        lambda manager, ref, _: manager.delete_secret(SecretId=ref, ForceDeleteWithoutRecovery=True),
        _change_secret,
    ),
    "AWS::Logs::LogGroup": Maker(
        "logs", "LogGroupName", _make_log_group, lambda logs, ref, _: logs.delete_log_group(logGroupName=ref), _retain
    ),
    "AWS::ECR::Repository": Maker("ecr", "RepositoryName", _make_repository, _delete_repository, _set_lifecycle),
    "AWS::IAM::Role": Maker("iam", "RoleName", _make_role, _delete_role, _change_role),
    "AWS::IAM::ManagedPolicy": Maker("iam", "ManagedPolicyName", _make_policy, _delete_policy, _change_policy),
}
